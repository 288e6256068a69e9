-- Ends grants in the usual case: the grant is in force and without metadata, and the name is not to stay blocked. Other keys are
-- left to release.lua.

-- The number of arguments of each key: 1 if the others are common to all keys.
local step = #ARGV == 4 + #KEYS and 1 or 3
local are_left = false
for at = 1, #KEYS do
  local key, own = KEYS[at], 4 + (at - 1) * step
  local owner, hold = ARGV[own], ARGV[step == 1 and 2 or own - 2]
  local record, answer = try('GET', key), false
  local is_held = type(record) == 'string' and sub(record, 52, 51 + #owner) == owner and sub(record, 35, 50) > now_text
  -- Overwrites the two lines in place, which is faster. The key is kept for as long as the grant would have required.
  if is_held and hold == '0' and sub(record, -1) == '\n' and type(try('SETRANGE', key, 34, now_text .. '\nr')) == 'number' then
    -- A hint that cannot be published costs time, never safety (S20): the release is done.
    answer, has_written = type(try('PUBLISH', key, '')) == 'table' and 3 or 1, true
  end
  answers[at + 1] = answer
  are_left = are_left or not answer
end
if not are_left then
  return answers
end

