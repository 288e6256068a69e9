-- Follows record.lua, and precedes the scripts that parse records.

-- A record with all its lines.
local LEASE = '^(%d+)\n(%d+)\n(%d+)\n(%l)\n(%x+)\n([^\n]*)\n([^\n]*)\n(%d+)\n(%d+)\n(.*)$'

local function parse(key, record)
  local token, acquired, expires, state, nonce, holder, reserved, ttl, revision, metadata = string.match(record, LEASE)
  if not token then
    -- A value of other software must not be overwritten.
    error({err = 'NOTALEASE the key ' .. key .. ' does not hold a lease'})
  end
  return {
    token = token, acquired = acquired, expires = tonumber(expires), state = state, nonce = nonce, holder = holder,
    reserved = reserved, ttl = ttl, revision = revision, metadata = metadata, live = tonumber(expires) > now,
  }
end

-- Returns the record of a lease, with another expiry.
local function record_of(lease, expires)
  return table.concat({lease.token, lease.acquired, expires, lease.state, lease.nonce, lease.holder, lease.reserved, lease.ttl,
    lease.revision, lease.metadata}, '\n')
end

-- For an expiry after this many microseconds, returns its line in the record, and for how many milliseconds the key is kept.
-- The key outlives the grant by the retention (S9, S13).
local last_duration, expires, kept = '0', now_text, ARGV[1]
local function after(duration)
  if duration ~= last_duration then
    last_duration, expires = duration, text(now + duration)
    kept = math.ceil(duration / 1000) + ARGV[1] .. ''
  end
  return expires, kept
end

-- Returns the answer that describes a lease in force.
local function describe(lease)
  return {'held', lease.holder, lease.token, lease.acquired, lease.ttl, text(lease.expires - now), lease.metadata,
    lease.state}
end

-- Calls `element` for each key without an answer, with the key, the key's own argument and the common arguments, of which there
-- are `common_count`. In ARGV the common arguments come once before all others if they are the same for all keys, and otherwise
-- before the own argument of each key. Returns the tag and one answer for each key, or {tag, {'replica', message}}.
local function each(common_count, element)
  local at, count, step = 0, #KEYS, #ARGV == 2 + common_count + #KEYS and 1 or common_count + 1
  local function all()
    while at < count do
      at = at + 1
      if not answers[at + 1] then
        local own = 2 + common_count + (at - 1) * step
        local common = step == 1 and 2 or own - common_count
        answers[at + 1] = element(KEYS[at], ARGV[own], ARGV[common], ARGV[common + 1], ARGV[common + 2])
      end
    end
  end
  repeat
    -- A key that fails, because of its type or because the server refuses to write, fails alone (L7).
    local ok, message = pcall(all)
    if not ok then
      -- From Redis 7 on, the message is a table.
      answers[at + 1] = {'error', type(message) == 'table' and message.err or tostring(message)}
    end
  until ok
  if not has_written then
    -- A replica may lag behind, so its answer is not believed (S19). It refuses even a write that changes nothing. A server that
    -- lacks memory or replicas refuses that as well, with another error.
    local proof = try('SETRANGE', KEYS[1], 0, '')
    local refusal = type(proof) == 'table' and proof.err
    if refusal and string.find(refusal, 'READONLY', 1, true) then
      return {tag, {'replica', refusal}}
    end
  end
  return answers
end

