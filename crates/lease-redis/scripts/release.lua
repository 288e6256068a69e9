-- Ends grants for their owners, and tells those who wait (L1). Keeps the token and the nonce (S9, S13).
--
-- ARGV: retention in ms, channel prefix; then for each key: name, holder, nonce, microseconds to stay blocked, holder for
-- whom it is reserved or ''.
-- Answers, one each: {freed} {notheld} {error, message}.

local retention, channel = tonumber(ARGV[1]), ARGV[2]

return each(function(key, at)
  local base = 5 * at - 3
  local name, holder, nonce, hold, reserved =
    ARGV[base + 1], ARGV[base + 2], ARGV[base + 3], tonumber(ARGV[base + 4]), ARGV[base + 5]
  local seen = redis.call('HMGET', key, 'nonce', 'holder', 'state', 'expires', 'token')
  local expires = tonumber(seen[4] or '')
  -- Only its owner's, and only while it is in force (S11). A broken grant is its owner's no more (S22).
  if seen[1] ~= nonce or seen[2] ~= holder or seen[3] ~= 'held' or not (seen[5] and expires and expires > now) then
    -- Somebody else's hash is an error.
    read(key)
    return {'notheld'}
  end
  redis.call('HSET', key, 'state', 'released', 'expires', text(now + hold), 'reserved', reserved)
  keep(key, now + hold, retention)
  -- A hint that cannot be sent costs time, never safety (S20): the release is done.
  redis.pcall('PUBLISH', channel .. name, '')
  return {'freed'}
end)
