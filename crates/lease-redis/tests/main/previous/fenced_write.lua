-- Writes a value unless a greater token has written before (the resource's side of S9).
--
-- KEYS: the resource, a hash. ARGV: the fencing token, the value.
-- Answers 1 when it was written, 0 when the token is too old.
--
-- Tokens are below 2^53, which Lua compares exactly.

local seen = tonumber(redis.call('HGET', KEYS[1], 'fence') or '0')
if tonumber(ARGV[1]) < seen then
  return 0
end
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'value', ARGV[2])
return 1
