-- Adds names to the index: a sorted set of the names of leases, all with the same score. It is a hint, by which a list finds
-- leases without a scan of the database. A member that is not a name, and comes before all names, has the time of its creation.
--
-- KEYS: the index. ARGV: names; the tag. Returns the tag.

local index, members = KEYS[1], {}
for at = 1, #ARGV - 1 do
  members[2 * at - 1], members[2 * at] = 0, ARGV[at]
end
if not redis.call('ZRANGEBYLEX', index, '[\0', '(\1', 'LIMIT', 0, 1)[1] then
  redis.call('ZADD', index, 0, '\0' .. redis.call('TIME')[1])
end
redis.call('ZADD', index, unpack(members))
return {ARGV[#ARGV]}
