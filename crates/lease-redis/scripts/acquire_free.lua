-- Grants leases in the usual case: the name was never granted, or its grant has ended and is not this attempt's. Other keys are
-- left to acquire.lua.

-- The number of arguments of each key: 1 if the others are common to all keys.
local step = #ARGV == 4 + #KEYS and 1 or 3
local ttl, times, kept
local are_left = false
for at = 1, #KEYS do
  local key, own = KEYS[at], 4 + (at - 1) * step
  local common = step == 1 and 2 or own - 2
  local grant, answer = ARGV[own], false
  local record = try('GET', key)
  local is_free = not record
  if type(record) == 'string' then
    local state = sub(record, 51, 53)
    -- Greater than the last token, and than any token of a record that was lost (S9, S10).
    is_free = (state == '\nr\n' or state == '\nh\n') and sub(record, 35, 50) <= now_text
      and sub(record, 1, 16) < now_text and sub(record, 54, 61) ~= sub(grant, 3, 10)
  end
  if is_free then
    if ARGV[common] ~= ttl then
      ttl = ARGV[common]
      times = now_text .. '\n' .. now_text .. '\n' .. text(now + ttl) .. '\n'
      kept = math.ceil(ttl / 1000) + ARGV[1] .. ''
    end
    if try('SET', key, times .. grant, 'PX', kept).ok then
      answer, has_written = now, true
      if ARGV[common + 1] ~= '' then
        try('PUBLISH', key, '')
      end
    end
  end
  answers[at + 1] = answer
  are_left = are_left or not answer
end
if not are_left then
  return answers
end

