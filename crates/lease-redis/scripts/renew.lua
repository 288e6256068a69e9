-- Extends grants for their owners. Never revives, never shortens, never changes a token (S7).
--
-- ARGV: retention in ms; then for each key: holder, nonce, ttl in microseconds, revision or '', metadata.
-- Answers, one each: {extended, microseconds left} {lost, reason} {taken, holder, token} {error, message}.

local retention = tonumber(ARGV[1])

return each(function(key, at)
  local base = 5 * at - 4
  local holder, nonce, ttl, revision, metadata =
    ARGV[base + 1], ARGV[base + 2], tonumber(ARGV[base + 3]), tonumber(ARGV[base + 4]), ARGV[base + 5]
  local lease = read(key)
  if not lease then
    return {'lost', 'gone'}
  end
  if lease.nonce ~= nonce or lease.holder ~= holder then
    return {'taken', lease.holder, lease.token}
  end
  if lease.state ~= 'held' then
    return {'lost', lease.state}
  end
  if not lease.live then
    return {'lost', 'expired'}
  end
  local expires = math.max(lease.expires, now + ttl)
  if revision and revision > lease.revision then
    redis.call('HSET', key, 'expires', text(expires), 'metadata', metadata, 'revision', text(revision))
  else
    redis.call('HSET', key, 'expires', text(expires))
  end
  keep(key, expires, retention)
  return {'extended', text(expires - now)}
end)
