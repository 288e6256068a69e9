-- Returns the state of leases. Changes nothing.
--
-- ARGV: retention in ms.
-- Returns the tag, and for each key: {held, …}, {over, microseconds since it ended, when it was granted}, {gone} if there is no
-- record, or {error, message}.

return each(0, function(key)
  local record = call('GET', key)
  local lease = record and parse(key, record)
  if lease then
    return lease.live and describe(lease) or {'over', text(now - lease.expires), lease.acquired}
  end
  return {'gone'}
end)
