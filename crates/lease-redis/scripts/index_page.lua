-- Returns a page of the index.
--
-- KEYS: the index. ARGV: minimum and maximum, as for ZRANGEBYLEX; limit; the tag.
-- Returns the tag, the time and the time of the index's creation by the server's clock in seconds since 1970, and the names.

local index, clock = KEYS[1], redis.call('TIME')
-- No member has this name, so this changes nothing. A replica refuses it, and is not believed (S19).
redis.call('ZREM', index, '')
local mark = redis.call('ZRANGEBYLEX', index, '[\0', '(\1', 'LIMIT', 0, 1)[1]
if not mark then
  mark = '\0' .. clock[1]
  -- Without memory for it, the index is created by a later call.
  redis.pcall('ZADD', index, 0, mark)
end
local page = redis.call('ZRANGEBYLEX', index, ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
return {ARGV[#ARGV], tonumber(clock[1]), tonumber(string.sub(mark, 2)), unpack(page)}
