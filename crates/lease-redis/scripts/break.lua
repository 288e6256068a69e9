-- An administrator ends the grant with this token, whoever owns it (S22).
--
-- ARGV: retention in ms, token, 'now' or 'afterexpiry'.
-- Answers: 1 where it is freed, 0 where it was not held, or {error, message}.

return each(function(key)
  local record = call('GET', key)
  local lease = record and parse(key, record)
  if not lease or tonumber(lease.token) ~= tonumber(ARGV[2]) or not lease.live then
    return 0
  end
  local how = ARGV[3]
  if how ~= 'now' and lease.state ~= 'held' then
    return 0
  end
  -- A release stays a release: only what it kept blocked is freed.
  lease.state = lease.state == 'held' and 'broken' or lease.state
  local expires, kept = after(how == 'now' and 0 or lease.expires - now)
  call('SET', key, record_of(lease, expires), 'PX', kept)
  redis.pcall('PUBLISH', key, '')
  return 1
end)
