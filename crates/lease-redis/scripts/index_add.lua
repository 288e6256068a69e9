-- The names of leases, in order: a sorted set of which all scores are the same. It is a hint, by which a list finds them without
-- walking over the whole database. Since when there is one is marked by a member which is no name and comes before all names.
--
-- KEYS: the index. ARGV: names; the tag. Answers the tag.

local index, words = KEYS[1], {}
for at = 1, #ARGV - 1 do
  words[2 * at - 1], words[2 * at] = 0, ARGV[at]
end
if not redis.call('ZRANGEBYLEX', index, '[\0', '(\1', 'LIMIT', 0, 1)[1] then
  redis.call('ZADD', index, 0, '\0' .. redis.call('TIME')[1])
end
redis.call('ZADD', index, unpack(words))
return {ARGV[#ARGV]}
