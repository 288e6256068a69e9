-- Who holds the leases at these keys now. Changes nothing.
--
-- Answers, one each: {held, …} {free} {error, message}.

return each(function(key)
  local lease = read(key)
  return lease and lease.live and describe(lease) or {'free'}
end)
