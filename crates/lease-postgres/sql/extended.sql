-- What is left of a grant that was extended; nothing for a row that was inserted.
case when l.xmax <> 0 then {us of l.expires_at_utc - clock_timestamp()} end
