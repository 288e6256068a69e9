-- A page of the index, and for how many seconds everybody who grants leases may be taken to write into it. That is marked by a
-- member which is no name and comes before all names.
--
-- KEYS: the index. ARGV: from where on and up to where, as ZRANGEBYLEX has it; how many; the tag.
-- Answers the tag, the seconds, the names.

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
return {ARGV[#ARGV], clock[1] - string.sub(mark, 2), unpack(page)}
