-- The names of leases, in order: a sorted set of which all scores are the same. It is a hint, by which a list finds them without
-- walking over the whole database.
--
-- KEYS: the index. ARGV: names; the tag. Answers the tag.

local words = {}
for at = 1, #ARGV - 1 do
  words[2 * at - 1], words[2 * at] = 0, ARGV[at]
end
redis.call('ZADD', KEYS[1], unpack(words))
return {ARGV[#ARGV]}
