-- Precedes every script that works with leases. KEYS are the names of leases with the prefix. Each holds one record, a string
-- with these lines:
--
--   token      of the last grant; it outlives the grant by the retention (S9)
--   acquired   microseconds since 1970, by this server's clock
--   expires    the same (S3)
--   state      h held, r released, b broken
--   nonce      of the last grant (S13)
--   holder     of the last grant (S11)
--   reserved   the holder that may acquire it before it expires, after a release
--   ttl        of the grant, in microseconds
--   revision   of the metadata
--   metadata   of the holder
--
-- The first three lines have 16 characters each, the fourth 1 and the nonce 32, so that most checks read a fixed position. The
-- lines from the state to the holder identify a grant. They are sent as one argument, the owner. An acquire sends all lines
-- from the state on.
--
-- The last of ARGV is the tag of the call, and the first of the answers, so that they cannot be taken for the answers to another
-- call (S25).
--
-- The expiry of the key only removes it. Numbers are stored as text: Lua has integers below 2^53 exactly, and 16 digits keep them
-- exact. Two such texts compare as their numbers do, and faster.
--
-- Nearly every acquire finds the name free, and nearly every release its own grant. Straight code right behind this file does
-- these; lease.lua follows for the rest. Creating a function costs more than calling it, and a script creates its functions at
-- each call.

local call, try, sub = redis.call, redis.pcall, string.sub
local tag = ARGV[#ARGV]
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- Formats a number with 16 digits. In two halves, which is three times as fast as '%016.0f', and exact as well.
local function text(number)
  local low = number % 100000000
  return string.format('%08d%08d', (number - low) / 100000000, low)
end

local now_text = text(now)

-- The tag, and one answer for each key; false if there is none yet.
local answers = {tag}

-- Whether a key was written, which shows that the server is a primary.
local has_written = false

