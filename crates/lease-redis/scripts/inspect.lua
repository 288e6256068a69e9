-- Who holds the leases at these keys now. Changes nothing.
--
-- Answers, after the tag, one each: {held, …} {over, for how many microseconds, when it was granted} {gone} {error, message}.

return each(0, function(key)
  local record = call('GET', key)
  local lease = record and parse(key, record)
  if lease then
    return lease.live and describe(lease) or {'over', text(now - lease.expires), lease.acquired}
  end
  return {'gone'}
end)
