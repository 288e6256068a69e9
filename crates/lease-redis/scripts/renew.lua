-- Extends grants for their owners. Never revives, never shortens, never changes a token (S7).
--
-- ARGV: retention in ms; then for each key: owner, ttl in microseconds, revision or '', metadata.
-- Answers, one each: microseconds left {lost, reason} {taken, holder, token} {error, message}.

return each(function(key, at)
  local base = 4 * at - 2
  local owner, ttl, revision, metadata = ARGV[base], ARGV[base + 1], tonumber(ARGV[base + 2]), ARGV[base + 3]
  local record = call('GET', key)
  if not record then
    return {'lost', 'gone'}
  end
  if not is_held_by(owner, record) then
    local lease = parse(key, record)
    if owner ~= lease.nonce .. '\n' .. lease.holder .. '\nheld' then
      return {'taken', lease.holder, lease.token}
    end
    return {'lost', lease.state == 'held' and 'expired' or lease.state}
  end
  local left = math.max(tonumber(ttl), tonumber(sub(record, 18, 33)) - now)
  local expires, kept = after(left)
  local renewed = sub(record, 1, 17) .. expires .. sub(record, 34)
  if revision then
    local lease = parse(key, record)
    if revision > tonumber(lease.revision) then
      lease.revision, lease.metadata = text(revision), metadata
      renewed = record_of(lease, expires)
    end
  end
  call('SET', key, renewed, 'PX', kept)
  return left
end)
