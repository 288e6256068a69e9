-- Removes names from the index.
--
-- KEYS: the index. ARGV: names; the tag. Returns the tag.

redis.call('ZREM', KEYS[1], unpack(ARGV, 1, #ARGV - 1))
return {ARGV[#ARGV]}
