-- An administrator ends the grant with this token, whoever owns it (S22).
--
-- ARGV: retention in ms, channel prefix, name, token, 'now' or 'afterexpiry'.
-- Answers: {{freed}} {{notheld}} {{error, message}}.

local retention, channel, name, token, how = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5]

return each(function(key)
  local lease = read(key)
  if not lease or lease.token ~= token or not lease.live or (how ~= 'now' and lease.state ~= 'held') then
    return {'notheld'}
  end
  -- A release stays a release: only what it kept blocked is freed.
  local state = lease.state == 'held' and 'broken' or lease.state
  local expires = how == 'now' and now or lease.expires
  redis.call('HSET', key, 'state', state, 'expires', text(expires))
  keep(key, expires, retention)
  redis.pcall('PUBLISH', channel .. name, '')
  return {'freed'}
end)
