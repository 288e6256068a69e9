-- Put in front of every script that works with leases. One string is one lease, KEYS are its names with the prefix. Its lines:
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
-- The key's own expiry only clears it away. Numbers are text: an integer below 2^53 is exact in Lua, and the 16 digits keep it
-- so. Two such texts compare as their numbers do, and faster.

local call, sub = redis.call, string.sub
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- In two halves, which is three times as fast as '%016.0f', and exact as well.
local function text(number)
  local low = number % 100000000
  return string.format('%08d%08d', (number - low) / 100000000, low)
end

local now_text = text(now)

-- What a lease looks like in full.
local LEASE = '^(%d+)\n(%d+)\n(%d+)\n(%l)\n(%x+)\n([^\n]*)\n([^\n]*)\n(%d+)\n(%d+)\n(.*)$'

local function parse(key, record)
  local token, acquired, expires, state, nonce, holder, reserved, ttl, revision, metadata = string.match(record, LEASE)
  if not token then
    -- Somebody else's text is not to be written over.
    error({err = 'NOTALEASE the key ' .. key .. ' does not hold a lease'})
  end
  return {
    token = token, acquired = acquired, expires = tonumber(expires), state = state, nonce = nonce, holder = holder,
    reserved = reserved, ttl = ttl, revision = revision, metadata = metadata, live = tonumber(expires) > now,
  }
end

-- The other way round, with another expiry.
local function record_of(lease, expires)
  return table.concat({lease.token, lease.acquired, expires, lease.state, lease.nonce, lease.holder, lease.reserved, lease.ttl,
    lease.revision, lease.metadata}, '\n')
end

local function is_held_by(owner, record)
  return sub(record, 52, 51 + #owner) == owner and sub(record, 35, 50) > now_text
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

-- Does it for each key: calls it with the key, the word that is the key's own, and what else is to be said. That stands once
-- before all words where it is the same for all, otherwise once more before each; it is so many words.
local function each(said_of_all, element)
  local answers, at, count, alike = {}, 0, #KEYS, #ARGV == 1 + said_of_all + #KEYS
  local function all()
    while at < count do
      at = at + 1
      local said = alike and 1 or (said_of_all + 1) * (at - 1) + 1
      local own = alike and 1 + said_of_all + at or said + said_of_all + 1
      answers[at] = element(KEYS[at], ARGV[own], ARGV[said + 1], ARGV[said + 2], ARGV[said + 3])
    end
  end
  repeat
    -- One that fails, for it is of another type or the server refuses to write, fails alone (L7).
    local ok, message = pcall(all)
    if not ok then
      -- A table from Redis 7 on.
      answers[at] = {'error', type(message) == 'table' and message.err or tostring(message)}
    end
  until ok
  return answers
end

