-- Ends grants for their owners, and publishes hints to waiters (L1). Keeps the token and the nonce (S9, S13).
--
-- ARGV: retention in ms; microseconds for which the name stays blocked, holder for whom it is reserved or ''; for each key:
-- owner. Returns the tag, and for each key: 1 if the grant was ended, 0 if it was not held, 2 if it had been released before, 3
-- if it was ended and the hint was refused, or {error, message}.

return each(2, function(key, owner, hold, reserved)
  local record = call('GET', key)
  if not record then
    return 0
  end
  -- Only the owner's own grant, and only while it is in force (S11). A broken grant has no owner any more (S22).
  if not is_held_by(owner, record) then
    -- A value of other software is an error.
    local lease = parse(key, record)
    record = normalized(owner, lease)
    if not record then
      return lease.state == 'r' and owner == owner_of(lease) and 2 or 0
    end
    write(key, lease.expires, 'SET', key, record, 'KEEPTTL')
  end
  local expires_now = sub(record, 35, 50)
  local expires, kept = after(hold)
  if hold == '0' and sub(record, -1) == '\n' then
    write(key, expires_now, 'SETRANGE', key, 34, expires .. '\nr')
  else
    local before, more = sub(record, 1, 34), without_metadata(sub(record, 52 + #owner))
    write(key, expires_now, 'SET', key, before .. expires .. '\nr' .. sub(owner, 2) .. reserved .. more, 'PX', kept)
  end
  return type(try('PUBLISH', key, '')) == 'table' and 3 or 1
end)
