-- Grants names that are simply free: never granted, or over, and not by this attempt. The rest is left to acquire.lua.

-- Each key has so many words, if they are not said of all.
local step = #ARGV == 4 + #KEYS and 1 or 3
local ttl, times, kept
local are_left = false
for at = 1, #KEYS do
  local key, own = KEYS[at], 4 + (at - 1) * step
  local said = step == 1 and 2 or own - 2
  local grant, answer = ARGV[own], false
  local record = try('GET', key)
  local is_free = not record
  if type(record) == 'string' then
    local state = sub(record, 51, 53)
    -- Above the last token, and above what a lost record can have had (S9, S10).
    is_free = (state == '\nr\n' or state == '\nh\n') and sub(record, 35, 50) <= now_text
      and sub(record, 1, 16) < now_text and sub(record, 54, 61) ~= sub(grant, 3, 10)
  end
  if is_free then
    if ARGV[said] ~= ttl then
      ttl = ARGV[said]
      times = now_text .. '\n' .. now_text .. '\n' .. text(now + ttl) .. '\n'
      kept = math.ceil(ttl / 1000) + ARGV[1] .. ''
    end
    if try('SET', key, times .. grant, 'PX', kept).ok then
      answer, has_written = now, true
      if ARGV[said + 1] ~= '' then
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

