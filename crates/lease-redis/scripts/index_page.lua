-- A page of the index, and since when everybody who grants leases may be taken to write into it, by the clock of its server.
--
-- KEYS: the index. ARGV: from where on and up to where, as ZRANGEBYLEX has it; how many; the tag.
-- Answers the tag, what time it is and when it began, in seconds since 1970, and the names.

local index, clock = KEYS[1], redis.call('TIME')
-- Nothing has this name. A replica refuses even that, and is not believed (S19).
redis.call('ZREM', index, '')
local mark = redis.call('ZRANGEBYLEX', index, '[\0', '(\1', 'LIMIT', 0, 1)[1]
if not mark then
  mark = '\0' .. clock[1]
  -- Where there is no memory for it, the index is as new at the next time.
  redis.pcall('ZADD', index, 0, mark)
end
local page = redis.call('ZRANGEBYLEX', index, ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
return {ARGV[#ARGV], tonumber(clock[1]), tonumber(string.sub(mark, 2)), unpack(page)}
