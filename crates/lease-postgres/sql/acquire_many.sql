-- Tries to acquire many leases, each by itself, as acquire_one.sql does for one. Returns a row per name: granted if it has a
-- `version`, otherwise refused, with the state of the lease. Returns no row for a name that changed meanwhile.
-- Arrays: $1 names, $2 holders, $3 nonces, $4 ttls in microseconds, $5 metadata
with settings as materialized (
    {settings}
),
request as materialized (
    select r.*
    from settings,
        unnest($1::text[], $2::text[], $3::uuid[], $4::int8[], $5::text[])
            with ordinality as r (lease_name, holder_id, grant_id, ttl_us, metadata, position)
    where settings.lock is not null
),
seen as materialized (
    select {state}
    from request as r
    cross join lateral (select * from {table} as q where q.lease_name::text = r.lease_name limit 1) as l
    where l.grant_id = r.grant_id
        or (l.expires_at_utc > clock_timestamp()
            and (l.reserved_for = r.holder_id and l.grant_ended = 'released' and l.grant_version = l.version) is not true)
),
granted as (
    insert into {table} as l
        (lease_name, holder_id, version, acquired_at_utc, expires_at_utc,
         grant_id, grant_version, grant_ended, ttl_us, metadata, metadata_revision, reserved_for)
    select
        r.lease_name, r.holder_id, {us of r.now}, r.now, r.now + r.ttl_us::float8 * interval '1 microsecond',
        r.grant_id, {us of r.now}, null, r.ttl_us, r.metadata::jsonb, 0, null
    from (
        select o.*, clock_timestamp() as now
        -- All statements lock rows in the order of the names: no deadlocks.
        from (
            select * from request where lease_name not in (select lease_name from seen) order by lease_name collate "C"
        ) as o
    ) as r
    {take_over}
),
-- The conflict has locked these rows already. Locking them again reads their newest state; a plain select would read the state at
-- the beginning of the statement.
missed as materialized (
    select {state}
    from (
        select lease_name from request
        where lease_name not in (select lease_name from granted) and lease_name not in (select lease_name from seen)
    ) as r
    cross join lateral (
        select * from {table} as q where q.lease_name::text = r.lease_name limit 1 for no key update
    ) as l
)
select {call}, r.position, g.version, g.lag_us, s.*
from request as r
left join granted as g on g.lease_name = r.lease_name
left join (select * from seen union all select * from missed) as s on s.lease_name = r.lease_name
where g.version is not null or s.lease_name is not null
