-- Writes a value unless a greater token has written before (the resource's side of S9).
--
-- KEYS: the resource, a hash. ARGV: the fencing token, the value, and optionally a tag of the call.
-- Returns 1 if the value was written, 0 if the token is too old. With a tag, returns {tag, 1 or 0}, so that the answer cannot be
-- taken for the answer to another call (S25).
--
-- Tokens are below 2^53, so that Lua compares them exactly.

local seen = tonumber(redis.call('HGET', KEYS[1], 'fence') or '0')
local is_written = tonumber(ARGV[1]) < seen and 0 or 1
if is_written == 1 then
  redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'value', ARGV[2])
end
return ARGV[3] and {ARGV[3], is_written} or is_written
