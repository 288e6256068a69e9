-- The remaining time of an extended grant; null for a row that was inserted.
case when l.xmax <> 0 then {us of l.expires_at_utc - clock_timestamp()} end
