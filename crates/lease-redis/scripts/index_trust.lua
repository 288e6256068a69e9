-- Marks the index as complete, by a creation at time 0.
--
-- KEYS: the index. ARGV: the tag. Returns the tag.

local mark = redis.call('ZRANGEBYLEX', KEYS[1], '[\0', '(\1', 'LIMIT', 0, 1)[1]
if mark then
  redis.call('ZREM', KEYS[1], mark)
end
redis.call('ZADD', KEYS[1], 0, '\0' .. 0)
return {ARGV[1]}
