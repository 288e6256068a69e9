-- Extends grants for their owners. Never revives, never shortens, never changes a token (S7).
--
-- ARGV: retention in ms; ttl in microseconds, revision or '', metadata; for each key: owner.
-- Answers, one each: microseconds left {lost, reason} {taken, holder, token} {error, message}.

local REASONS = {h = 'expired', r = 'released', b = 'broken'}

return each(3, function(key, owner, ttl, revision, metadata)
  local record = call('GET', key)
  if not record then
    return {'lost', 'gone'}
  end
  if not is_held_by(owner, record) then
    local lease = parse(key, record)
    if owner ~= 'h\n' .. lease.nonce .. '\n' .. lease.holder .. '\n' then
      return {'taken', lease.holder, lease.token}
    end
    return {'lost', REASONS[lease.state]}
  end
  local left = math.max(tonumber(ttl), tonumber(sub(record, 35, 50)) - now)
  local expires, kept = after(left)
  local renewed = sub(record, 1, 34) .. expires .. sub(record, 51)
  if revision ~= '' then
    local lease = parse(key, record)
    if tonumber(revision) > tonumber(lease.revision) then
      lease.revision, lease.metadata = text(tonumber(revision)), metadata
      renewed = record_of(lease, expires)
    end
  end
  call('SET', key, renewed, 'PX', kept)
  return left
end)
