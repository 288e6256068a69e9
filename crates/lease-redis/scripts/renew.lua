-- Renews grants for their owners. Never revives one, never shortens one, never changes a token (S7).
--
-- ARGV: retention in ms; ttl in microseconds, revision or '', metadata; for each key: owner.
-- Returns the tag, and for each key: the remaining microseconds, {lost, reason}, {taken, holder, token} or {error, message}.

local REASONS = {h = 'expired', r = 'released', b = 'broken'}

return each(3, function(key, owner, ttl, revision, metadata)
  local record = call('GET', key)
  if not record then
    return {'lost', 'gone'}
  end
  if not is_held_by(owner, record) then
    local lease = parse(key, record)
    if owner ~= owner_of(lease) then
      return {'taken', lease.holder, lease.token}
    end
    record = normalized(owner, lease)
    if not record then
      return {'lost', REASONS[lease.state]}
    end
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
  write(key, now + left, 'SET', key, renewed, 'PX', kept)
  -- Never more than the ttl: more remaining time comes from a clock that was set back, and vanishes when the clock is corrected.
  local longest = tonumber(ttl)
  if left > longest then
    longest = math.max(longest, tonumber(parse(key, record).ttl))
  end
  return math.min(left, longest)
end)
