-- Follows lease.lua, and precedes the scripts that renew and end grants.

local function owner_of(lease)
  return 'h\n' .. lease.nonce .. '\n' .. lease.holder .. '\n'
end

local function is_held_by(owner, record)
  return sub(record, 52, 51 + #owner) == owner and sub(record, 35, 50) > now_text
end

-- Returns the record with all lines at their usual positions, if a grant of this owner is in force. They are elsewhere if the
-- record was edited by hand.
local function normalized(owner, lease)
  if lease.state == 'h' and lease.live and owner == owner_of(lease) then
    lease.token, lease.acquired = text(tonumber(lease.token)), text(tonumber(lease.acquired))
    return record_of(lease, text(lease.expires))
  end
end

-- Returns the record, or its end, without the metadata, which nobody needs when the grant has ended (they may be 4 KiB).
local function without_metadata(record)
  return string.match(record, '^.*\n')
end

-- Executes a command that renews or ends a grant. Redis checks for memory only at the first write of a script. If there is
-- none, a write that needs none goes first. So leases can be renewed and released when the memory is full.
local function write(key, expires, ...)
  local answer = try(...)
  if type(answer) == 'table' and answer.err then
    if not string.find(answer.err, 'OOM', 1, true) then
      error(answer)
    end
    -- Keeps the key for as long as before.
    call('PEXPIRE', key, math.ceil((expires - now) / 1000) + ARGV[1] .. '')
    call(...)
  end
  has_written = true
end

