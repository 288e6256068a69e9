-- An administrator ends the grant with this token, whoever owns it (S22).
--
-- ARGV: retention in ms; 'now' or 'afterexpiry'; for each key: token.
-- Answers: 1 where it is freed, 0 where it was not held, or {error, message}.

return each(1, function(key, token, how)
  local record = call('GET', key)
  local lease = record and parse(key, record)
  if not lease or tonumber(lease.token) ~= tonumber(token) or not lease.live then
    return 0
  end
  if how ~= 'now' and lease.state ~= 'h' then
    return 0
  end
  -- A release stays a release: only what it kept blocked is freed.
  lease.state = lease.state == 'h' and 'b' or lease.state
  local expires, kept = after(how == 'now' and 0 or lease.expires - now)
  call('SET', key, record_of(lease, expires), 'PX', kept)
  redis.pcall('PUBLISH', key, '')
  return 1
end)
