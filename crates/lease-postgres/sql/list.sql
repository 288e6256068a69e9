-- Returns a page of the leases in force. Skips names of other software that this library does not allow.
-- $1 prefix, $2 the end of its range or null, $3 the last name of the previous page or null, $4 the size of the page
select {call}, {state}
from {table} as l
where l.lease_name::text collate "C" >= $1::text
    and ($2::text is null or l.lease_name::text collate "C" < $2::text)
    and ($3::text is null or l.lease_name::text collate "C" > $3::text)
    and l.expires_at_utc > clock_timestamp()
    and pg_catalog.octet_length(l.lease_name::text) <= 255
    and l.lease_name::text collate "C" ~ '^[!-~]+$'::text
order by l.lease_name::text collate "C"
limit $4::int8
