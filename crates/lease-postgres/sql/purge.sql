-- Removes the long-expired rows of one stretch of names. One row: the last name of the stretch or null at the end, how many were removed.
-- A token that is ahead of the clock stays, with its row: the next grant would not be above it otherwise (S9, S10).
-- The order in which it locks rows does not matter, since it never waits for one.
-- $1 the last name of the stretch before or null, $2 microseconds since the expiry, $3 the length of the stretch
with settings as materialized (
    {settings}
),
stretch as materialized (
    select q.lease_name::text as lease_name
    from settings, {table} as q
    where settings.lock is not null and ($1::text is null or q.lease_name::text > $1::text)
    order by q.lease_name::text
    limit $3::int8
),
doomed as materialized (
    select l.lease_name::text as lease_name
    from stretch as s
    join {table} as l on l.lease_name::text = s.lease_name
    where l.expires_at_utc < clock_timestamp() - $2::int8::float8 * interval '1 microsecond'
        and l.version < {us of clock_timestamp()}
    for update of l skip locked
),
removed as (
    delete from {table} as l using doomed as d where l.lease_name::text = d.lease_name returning l.lease_name
)
select (select max(lease_name) from stretch) as last_name, (select count(*) from removed) as removed
