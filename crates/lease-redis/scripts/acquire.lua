-- Grants names that are free. One attempt each; never waits.
--
-- ARGV: retention in ms; then for each key: owner, ttl in microseconds, metadata, '1' to announce the grant or ''.
-- Answers, one each: the token of a new grant {granted, token, microseconds left} {held, …} {spent} {error, message}.

return each(function(key, at)
  local base = 4 * at - 2
  local owner, ttl, metadata, announced = ARGV[base], ARGV[base + 1], ARGV[base + 2], ARGV[base + 3]
  local token = now
  local record = call('GET', key)
  if record then
    local last, expired = tonumber(sub(record, 1, 16)), (tonumber(sub(record, 18, 33)) or now + 1) <= now
    -- Whatever has not just expired is looked at in full.
    if not (last and expired and sub(record, 35, 66) ~= sub(owner, 1, 32)) then
      local lease = parse(key, record)
      local nonce, holder = string.match(owner, '^(%x+)\n([^\n]*)')
      if lease.nonce == nonce and lease.holder == holder then
        -- The same attempt again: its own grant with what is left of it, or nothing any more (S13).
        if lease.state == 'held' and lease.live then
          return {'granted', lease.token, text(lease.expires - now)}
        end
        return {'spent'}
      end
      if lease.live and not (lease.state == 'released' and lease.reserved == holder) then
        return describe(lease)
      end
      last = tonumber(lease.token)
    end
    -- Above the last one, and above what a lost record can have had (S9, S10).
    token = math.max(last + 1, now)
    if token > 9007199254740991 then
      error({err = 'NOTALEASE there are no greater tokens for the key ' .. key})
    end
  end
  local expires, kept = after(ttl)
  local token_text = token == now and now_text or text(token)
  local grant = owner .. '\n\n' .. now_text .. '\n' .. ttl .. '\n0\n' .. metadata
  call('SET', key, token_text .. '\n' .. expires .. '\n' .. grant, 'PX', kept)
  if announced ~= '' then
    redis.pcall('PUBLISH', key, '')
  end
  return token
end)
