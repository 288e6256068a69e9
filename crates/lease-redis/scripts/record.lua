-- Put in front of every script that works with leases. One string is one lease, KEYS are their names with the prefix. Its lines:
--
--   token      of the last grant; it outlives the grant by the retention (S9)
--   acquired   microseconds since 1970, by this server's clock
--   expires    as well (S3)
--   state      h held, r released, b broken
--   nonce      of the last grant, and
--   holder     whose it is or was (S11, S13)
--   reserved   who may have it before it expires, after a release
--   ttl        of the grant, in microseconds
--   revision   which change of the metadata it is
--   metadata   what its holder says of itself
--
-- The first three lines have 16 characters each, the fourth 1 and the nonce 32, so that most questions are answered by a look at
-- the right place. The lines from the state to the holder are sent by whoever owns the grant, as one text: the owner. An
-- acquire sends all lines from the state on.
--
-- The last of ARGV is the call's tag, and the first of the answers: so they cannot be taken for those of another call (S25).
--
-- The key's own expiry only clears it away. Numbers are text: an integer below 2^53 is exact in Lua, and the 16 digits keep it
-- so. Two such texts compare as their numbers do, and faster.
--
-- Nearly every acquire finds the name free, and nearly every release its own grant. They are done by straight code right behind
-- this; for the rest follows lease.lua. A function costs more to make than to call, and a script makes its functions at each call.

local call, try, sub = redis.call, redis.pcall, string.sub
local tag = ARGV[#ARGV]
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- In two halves, which is three times as fast as '%016.0f', and exact as well.
local function text(number)
  local low = number % 100000000
  return string.format('%08d%08d', (number - low) / 100000000, low)
end

local now_text = text(now)

-- The tag, and one answer for each key; false where there is none yet.
local answers = {tag}

-- Whether anything was written. Only a server that may write does so.
local has_written = false

