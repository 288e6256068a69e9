-- Who holds the leases at these keys now. Changes nothing.
--
-- Answers, one each: {held, …} {free} {error, message}.

return each(0, function(key)
  local record = call('GET', key)
  local lease = record and parse(key, record)
  return lease and lease.live and describe(lease) or {'free'}
end)
