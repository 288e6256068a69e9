-- Grants names that are free. One attempt each; never waits.
--
-- ARGV: retention in ms; ttl in microseconds, '1' to announce the grant or ''; for each key: the lines from the state on.
-- Answers, one each: the token of a new grant {granted, token, microseconds left} {held, …} {spent} {error, message}.

return each(2, function(key, grant, ttl, announced)
  local token, token_text = now, now_text
  local record = call('GET', key)
  if record then
    local last, expires, state, nonce = sub(record, 1, 16), sub(record, 35, 50), sub(record, 51, 53), sub(record, 54, 61)
    local is_over = (state == '\nr\n' or state == '\nh\n') and expires <= now_text and last < now_text
    -- Whatever is not simply over is looked at in full, and what looks like the same nonce.
    if not is_over or nonce == sub(grant, 3, 10) then
      local lease = parse(key, record)
      local own_nonce, holder = string.match(grant, '^h\n(%x+)\n([^\n]*)')
      if lease.nonce == own_nonce and lease.holder == holder then
        -- The same attempt again: its own grant with what is left of it, or nothing any more (S13).
        if lease.state == 'h' and lease.live then
          return {'granted', lease.token, text(lease.expires - now)}
        end
        return {'spent'}
      end
      if lease.live and not (lease.state == 'r' and lease.reserved == holder) then
        return describe(lease)
      end
      -- Above the last one, and above what a lost record can have had (S9, S10).
      token = math.max(lease.token + 1, now)
      if token > 9007199254740991 then
        error({err = 'NOTALEASE there are no greater tokens for the key ' .. key})
      end
      token_text = text(token)
    end
  end
  local expires, kept = after(ttl)
  call('SET', key, token_text .. '\n' .. now_text .. '\n' .. expires .. '\n' .. grant, 'PX', kept)
  if announced ~= '' then
    redis.pcall('PUBLISH', key, '')
  end
  return token
end)
