-- Put in front of every script that works with leases. One hash is one lease, KEYS are its names with the prefix:
--
--   holder, nonce   whose the last grant is or was (S11, S13)
--   token           of the last grant; it outlives the grant by the retention (S9)
--   acquired, expires  microseconds since 1970, by this server's clock (S3)
--   ttl             of the grant, in microseconds
--   state           held, released or broken
--   reserved        who may have it before it expires, after a release
--   metadata, revision  what its holder says of itself, and which change of it that is
--
-- The key's own expiry only clears it away. Numbers are text: an integer below 2^53 is exact in Lua, and '%.0f' keeps it so.

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

local function text(number)
  return string.format('%.0f', number)
end

-- The lease at a key; nothing where there is none.
local function read(key)
  local field = redis.call('HMGET', key,
    'holder', 'nonce', 'token', 'acquired', 'expires', 'ttl', 'state', 'reserved', 'metadata', 'revision')
  local expires = tonumber(field[5] or '')
  if not (tonumber(field[3] or '') and expires and field[1] and field[2] and field[7]) then
    -- Somebody else's hash is not to be written into.
    if redis.call('EXISTS', key) == 1 then
      error({err = 'NOTALEASE the key ' .. key .. ' does not hold a lease'})
    end
    return nil
  end
  return {
    holder = field[1], nonce = field[2], token = field[3], acquired = field[4] or '0', expires = expires,
    ttl = field[6] or '0', state = field[7], reserved = field[8] or '', metadata = field[9] or '',
    revision = tonumber(field[10] or '') or 0, live = expires > now,
  }
end

-- Keeps the record until it has expired and the retention, in milliseconds, has passed (S9, S13).
local function keep(key, expires, retention)
  redis.call('PEXPIREAT', key, text(math.ceil(expires / 1000) + retention))
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

