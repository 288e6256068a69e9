-- Put behind record.lua, in front of the scripts that extend and end what is held.

local function owner_of(lease)
  return 'h\n' .. lease.nonce .. '\n' .. lease.holder .. '\n'
end

local function is_held_by(owner, record)
  return sub(record, 52, 51 + #owner) == owner and sub(record, 35, 50) > now_text
end

-- The record with all lines in their places, if a grant of this owner is in force in it, as it is where somebody has written
-- into it by hand.
local function put_in_place(owner, lease)
  if lease.state == 'h' and lease.live and owner == owner_of(lease) then
    lease.token, lease.acquired = text(tonumber(lease.token)), text(tonumber(lease.acquired))
    return record_of(lease, text(lease.expires))
  end
end

-- A write that extends or ends a grant, as a command. Redis looks for memory at the first write of a script alone: where there
-- is none, one that needs none goes first. So leases can be kept and given back when the memory is full.
local function write(key, expires, ...)
  local answer = try(...)
  if type(answer) == 'table' and answer.err then
    if not string.find(answer.err, 'OOM', 1, true) then
      error(answer)
    end
    -- The key is kept for as long as it was.
    call('PEXPIRE', key, math.ceil((expires - now) / 1000) + ARGV[1] .. '')
    call(...)
  end
  has_written = true
end

