-- KEYS: the index. ARGV: names; the tag. Answers the tag.

redis.call('ZREM', KEYS[1], unpack(ARGV, 1, #ARGV - 1))
return {ARGV[#ARGV]}
