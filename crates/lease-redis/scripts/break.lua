-- Ends the grant with this token, whoever its holder is, for an administrator (S22).
--
-- ARGV: retention in ms; 'now' or 'afterexpiry'; for each key: token.
-- Returns the tag, and for each key: 1 if the grant was ended, 0 if it was not held, 2 if it had been ended before, 3 if it was
-- ended and the hint was refused, or {error, message}.

return each(1, function(key, token, how)
  local record = call('GET', key)
  local lease = record and parse(key, record)
  if not lease or tonumber(lease.token) ~= tonumber(token) then
    return 0
  end
  if not lease.live or how ~= 'now' and lease.state ~= 'h' then
    return lease.state == 'h' and 0 or 2
  end
  -- A released grant stays released: only the time for which the name is blocked ends.
  lease.state = lease.state == 'h' and 'b' or lease.state
  local expires, kept = after(how == 'now' and 0 or lease.expires - now)
  write(key, lease.expires, 'SET', key, without_metadata(record_of(lease, expires)), 'PX', kept)
  return type(try('PUBLISH', key, '')) == 'table' and 3 or 1
end)
