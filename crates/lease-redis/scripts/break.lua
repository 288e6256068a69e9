-- An administrator ends the grant with this token, whoever owns it (S22).
--
-- ARGV: retention in ms; 'now' or 'afterexpiry'; for each key: token.
-- Answers, after the tag: 1 where it is freed, 0 where it was not held, 2 where it had been ended before, 3 where it is
-- freed and the hint was refused, or {error, message}.

return each(1, function(key, token, how)
  local record = call('GET', key)
  local lease = record and parse(key, record)
  if not lease or tonumber(lease.token) ~= tonumber(token) then
    return 0
  end
  if not lease.live or how ~= 'now' and lease.state ~= 'h' then
    return lease.state == 'h' and 0 or 2
  end
  -- A release stays a release: only what it kept blocked is freed.
  lease.state = lease.state == 'h' and 'b' or lease.state
  local expires, kept = after(how == 'now' and 0 or lease.expires - now)
  write(key, lease.expires, 'SET', key, record_of(lease, expires), 'PX', kept)
  return type(try('PUBLISH', key, '')) == 'table' and 3 or 1
end)
