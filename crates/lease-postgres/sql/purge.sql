-- Removes the long-expired rows of one batch of names. Returns one row: the last name of the batch, or null at the end of the
-- table, and the number of removed rows.
-- A row whose token is ahead of the clock is kept: without it the next token would be lower (S9, S10).
-- The order in which rows are locked does not matter, because the statement never waits for a row.
-- $1 the last name of the previous batch or null, $2 microseconds since the expiry, $3 the size of the batch
with settings as materialized (
    {settings}
),
batch as materialized (
    select q.lease_name::text as lease_name
    from settings, {table} as q
    where settings.lock is not null and ($1::text is null or q.lease_name::text > $1::text)
    order by q.lease_name::text
    limit $3::int8
),
doomed as materialized (
    select l.lease_name::text as lease_name
    from batch as s
    join {table} as l on l.lease_name::text = s.lease_name
    where l.expires_at_utc < clock_timestamp() - $2::int8::float8 * interval '1 microsecond'
        and l.version < {us of clock_timestamp()}
    for update of l skip locked
),
removed as (
    delete from {table} as l using doomed as d where l.lease_name::text = d.lease_name returning l.lease_name
)
select (select max(lease_name) from batch) as last_name, (select count(*) from removed) as removed
