-- Raises the tokens of new grants, before they are answered. Returns a row for each grant that is still in force.
-- The token of an inserted row is older than the row if the insertion had to wait for another transaction, which may have granted
-- a higher token and deleted the row meanwhile (S9).
-- If the answer is lost here, a retry of the same attempt finds the grant with the lower token. That takes two accidents within a
-- millisecond, on a name whose row was deleted.
-- Arrays: $1 names, $2 holders, $3 nonces. $4 how long to wait for the rows
with settings as materialized (
    {settings}
),
request as materialized (
    select r.*
    from settings,
        unnest($1::text[], $2::text[], $3::uuid[]) with ordinality as r (lease_name, holder_id, grant_id, position)
    where settings.lock is not null
),
-- As in renew_many.sql. The clock is read after the grants were inserted: it is above all earlier tokens.
raised as (
    insert into {table} as l
        (lease_name, holder_id, version, acquired_at_utc, expires_at_utc, grant_id, grant_version, grant_ended)
    select r.lease_name, r.holder_id, r.now_us, timestamptz 'epoch', timestamptz 'epoch', r.grant_id, r.now_us, 'released'
    from (
        select o.*, {us of clock_timestamp()} as now_us
        from (select * from request order by lease_name collate "C") as o
    ) as r
    cross join lateral (select p.version from {table} as p where p.lease_name::text = r.lease_name limit 1) as q
    on conflict (lease_name) do update set
        version = greatest(l.version + 1, excluded.version),
        grant_version = greatest(l.version + 1, excluded.version)
    where l.holder_id::text = excluded.holder_id::text and l.grant_id = excluded.grant_id and l.grant_version = l.version
        and l.grant_ended is null and l.expires_at_utc > clock_timestamp()
    returning l.lease_name::text as lease_name, case when l.xmax <> 0 then l.version end as version
)
select {call}, r.position, l.version
from request as r
join raised as l on l.lease_name = r.lease_name
where l.version is not null
