-- Ends grants for their owners, and tells those who wait (L1). Keeps the token and the nonce (S9, S13).
--
-- ARGV: retention in ms; then for each key: owner, microseconds to stay blocked, holder for whom it is reserved or ''.
-- Answers, one each: 1 where it is freed, 0 where it was not held, or {error, message}.

return each(function(key, at)
  local base = 3 * at - 1
  local owner, hold, reserved = ARGV[base], ARGV[base + 1], ARGV[base + 2]
  local record = call('GET', key)
  if not record then
    return 0
  end
  -- Only its owner's, and only while it is in force (S11). A broken grant is its owner's no more (S22).
  if not is_held_by(owner, record) then
    -- Somebody else's text is an error.
    parse(key, record)
    return 0
  end
  local expires, kept = after(hold)
  local token, more = sub(record, 1, 16), sub(record, 36 + #owner)
  call('SET', key, token .. '\n' .. expires .. '\n' .. sub(owner, 1, -5) .. 'released\n' .. reserved .. more, 'PX', kept)
  -- A hint that cannot be sent costs time, never safety (S20): the release is done.
  redis.pcall('PUBLISH', key, '')
  return 1
end)
