-- Grants names that are free. One attempt each; never waits.
--
-- ARGV: retention in ms, channel prefix; then for each key: holder, nonce, ttl in microseconds, metadata, name to announce or ''.
-- Answers, one each: {granted, token, microseconds left} {held, …} {spent} {error, message}.

local retention, channel, now_text = tonumber(ARGV[1]), ARGV[2], text(now)

return each(function(key, at)
  local base = 5 * at - 3
  local holder, nonce, ttl, metadata, announced =
    ARGV[base + 1], ARGV[base + 2], ARGV[base + 3], ARGV[base + 4], ARGV[base + 5]
  -- Most names are free, and these four fields say so. Whatever else they say is looked at in full.
  local seen = redis.call('HMGET', key, 'token', 'expires', 'nonce', 'state')
  local last, expired = tonumber(seen[1] or ''), (tonumber(seen[2] or '') or now + 1) <= now
  if not (last and expired and seen[3] and seen[3] ~= nonce and seen[4]) then
    local lease = read(key)
    if lease and lease.nonce == nonce and lease.holder == holder then
      -- The same attempt again: its own grant with what is left of it, or nothing any more (S13).
      if lease.state == 'held' and lease.live then
        return {'granted', lease.token, text(lease.expires - now)}
      end
      return {'spent'}
    end
    if lease and lease.live and not (lease.state == 'released' and lease.reserved == holder) then
      return describe(lease)
    end
    last = lease and tonumber(lease.token) or 0
  end
  -- Above the last one, and above what a lost record can have had (S9, S10).
  local token = math.max(last + 1, now)
  if token > 9007199254740991 then
    error({err = 'NOTALEASE there are no greater tokens for the key ' .. key})
  end
  local expires = now + ttl
  redis.call('HSET', key, 'holder', holder, 'nonce', nonce, 'token', text(token), 'acquired', now_text,
    'expires', text(expires), 'ttl', ttl, 'state', 'held', 'metadata', metadata, 'revision', '0')
  keep(key, expires, retention)
  if announced ~= '' then
    redis.pcall('PUBLISH', channel .. announced, '')
  end
  return {'granted', text(token), ttl}
end)
