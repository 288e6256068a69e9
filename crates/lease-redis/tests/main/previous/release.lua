-- Ends grants for their owners, and tells those who wait (L1). Keeps the token and the nonce (S9, S13).
--
-- ARGV: retention in ms; microseconds to stay blocked, holder for whom it is reserved or ''; for each key: owner.
-- Answers, one each: 1 where it is freed, 0 where it was not held, or {error, message}.

return each(2, function(key, owner, hold, reserved)
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
  if hold == '0' then
    -- In its place, which is faster. The key is kept for as long as the grant would have been.
    call('SETRANGE', key, 34, expires .. '\nr')
  else
    local before, more = sub(record, 1, 34), sub(record, 52 + #owner)
    call('SET', key, before .. expires .. '\nr' .. sub(owner, 2) .. reserved .. more, 'PX', kept)
  end
  -- A hint that cannot be sent costs time, never safety (S20): the release is done.
  redis.pcall('PUBLISH', key, '')
  return 1
end)
