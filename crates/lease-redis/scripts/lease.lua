-- Put behind record.lua, in front of what looks at leases in full.

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

-- Does it for each key that has no answer yet: calls it with the key, the word that is the key's own, and what else is to be
-- said. That stands once before all words where it is the same for all, otherwise once more before each; it is so many words.
-- Answers the tag and one answer for each key, or {tag, {'replica', message}}.
local function each(said_of_all, element)
  local at, count, step = 0, #KEYS, #ARGV == 2 + said_of_all + #KEYS and 1 or said_of_all + 1
  local function all()
    while at < count do
      at = at + 1
      if not answers[at + 1] then
        local own = 2 + said_of_all + (at - 1) * step
        local said = step == 1 and 2 or own - said_of_all
        answers[at + 1] = element(KEYS[at], ARGV[own], ARGV[said], ARGV[said + 1], ARGV[said + 2])
      end
    end
  end
  repeat
    -- One that fails, for it is of another type or the server refuses to write, fails alone (L7).
    local ok, message = pcall(all)
    if not ok then
      -- A table from Redis 7 on.
      answers[at + 1] = {'error', type(message) == 'table' and message.err or tostring(message)}
    end
  until ok
  if not has_written then
    -- A replica may be behind, so that what it says is not believed (S19). It refuses even a write that changes nothing. A
    -- server that lacks memory or replicas refuses that as well, but in other words.
    local proof = try('SETRANGE', KEYS[1], 0, '')
    local refusal = type(proof) == 'table' and proof.err
    if refusal and string.find(refusal, 'READONLY', 1, true) then
      return {tag, {'replica', refusal}}
    end
  end
  return answers
end

