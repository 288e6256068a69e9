-- Grants leases whose names are free. One attempt for each key; never waits.
--
-- ARGV: retention in ms; ttl in microseconds, '1' to announce the grant or ''; for each key: the lines from the state on.
-- Returns the tag, and for each key: the token of a new grant, {granted, token, remaining microseconds}, {held, …}, {spent} or
-- {error, message}.

return each(2, function(key, grant, ttl, announced)
  local token, token_text = now, now_text
  local record = call('GET', key)
  if record then
    local lease = parse(key, record)
    local own_nonce, holder = string.match(grant, '^h\n(%x+)\n([^\n]*)')
    if lease.nonce == own_nonce and lease.holder == holder then
      -- The same attempt again: returns its own grant with the remaining time, or that it was spent (S13). Never more than the
      -- ttl, as in renew.lua.
      if lease.state == 'h' and lease.live then
        return {'granted', lease.token, text(math.min(lease.expires - now, tonumber(lease.ttl)))}
      end
      return {'spent'}
    end
    if lease.live and not (lease.state == 'r' and lease.reserved == holder) then
      return describe(lease)
    end
    -- Greater than the last token, and than any token of a record that was lost (S9, S10).
    token = math.max(lease.token + 1, now)
    if token > 9007199254740991 then
      error({err = 'NOTALEASE there are no greater tokens for the key ' .. key})
    end
    token_text = text(token)
  end
  local expires, kept = after(ttl)
  call('SET', key, token_text .. '\n' .. now_text .. '\n' .. expires .. '\n' .. grant, 'PX', kept)
  has_written = true
  if announced ~= '' then
    try('PUBLISH', key, '')
  end
  return token
end)
