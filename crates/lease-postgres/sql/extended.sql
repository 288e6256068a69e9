-- The remaining time of an extended grant; null for a row that was inserted. Somebody may have set the end to infinity.
case when l.xmax <> 0 then {us of least(l.expires_at_utc, timestamptz '2200-01-01 00:00:00+00') - clock_timestamp()} end
