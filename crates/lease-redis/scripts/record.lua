-- Put in front of every script that works with leases. One string is one lease, KEYS are its names with the prefix. Its lines:
--
--   token      of the last grant; it outlives the grant by the retention (S9)
--   expires    microseconds since 1970, by this server's clock (S3)
--   nonce      of the last grant, and
--   holder     whose it is or was (S11, S13)
--   state      held, released or broken
--   reserved   who may have it before it expires, after a release
--   acquired   microseconds since 1970
--   ttl        of the grant, in microseconds
--   revision   which change of the metadata it is
--   metadata   what its holder says of itself
--
-- The first three lines have 16, 16 and 32 characters, so that most questions are answered by a look at the right place. What
-- a grant in force has between `expires` and `reserved` is sent by its owner, as one text: nonce, holder, and 'held', a line each.
--
-- The key's own expiry only clears it away. Numbers are text: an integer below 2^53 is exact in Lua, and the 16 digits keep it so.

local call, sub = redis.call, string.sub
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- In two halves, which is three times as fast as '%016.0f', and exact as well.
local function text(number)
  local low = number % 100000000
  return string.format('%08d%08d', (number - low) / 100000000, low)
end

local now_text = text(now)

-- What a lease looks like in full.
local LEASE = '^(%d+)\n(%d+)\n(%x+)\n([^\n]*)\n(%l+)\n([^\n]*)\n(%d+)\n(%d+)\n(%d+)\n(.*)$'

local function parse(key, record)
  local token, expires, nonce, holder, state, reserved, acquired, ttl, revision, metadata = string.match(record, LEASE)
  if not token then
    -- Somebody else's text is not to be written over.
    error({err = 'NOTALEASE the key ' .. key .. ' does not hold a lease'})
  end
  return {
    token = token, expires = tonumber(expires), nonce = nonce, holder = holder, state = state, reserved = reserved,
    acquired = acquired, ttl = ttl, revision = revision, metadata = metadata, live = tonumber(expires) > now,
  }
end

-- The other way round, with another expiry.
local function record_of(lease, expires)
  return table.concat({lease.token, expires, lease.nonce, lease.holder, lease.state, lease.reserved, lease.acquired, lease.ttl,
    lease.revision, lease.metadata}, '\n')
end

local function is_held_by(owner, record)
  return sub(record, 35, 34 + #owner) == owner and (tonumber(sub(record, 18, 33)) or 0) > now
end

-- What expires after this time, in microseconds: the line that says when, and for how many milliseconds the key is kept. It
-- outlives the grant by the retention (S9, S13).
local last_duration, expires, kept = '0', now_text, ARGV[1]
local function after(duration)
  if duration ~= last_duration then
    last_duration, expires = duration, text(now + duration)
    kept = math.ceil(duration / 1000) + ARGV[1] .. ''
  end
  return expires, kept
end

-- What anybody may see of a lease in force.
local function describe(lease)
  return {'held', lease.holder, lease.token, lease.acquired, lease.ttl, text(lease.expires - now), lease.metadata,
    lease.state}
end

-- Does it for each key. One that fails, for it is of another type or the server refuses to write, fails alone (L7).
local function each(element)
  local answers = {}
  for at = 1, #KEYS do
    local ok, answer = pcall(element, KEYS[at], at)
    if not ok then
      -- A table from Redis 7 on.
      answer = {'error', type(answer) == 'table' and answer.err or tostring(answer)}
    end
    answers[at] = answer
  end
  return answers
end

