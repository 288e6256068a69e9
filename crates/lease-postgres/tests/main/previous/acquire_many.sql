-- One attempt to get each of many leases, each by itself. One row a name: granted when `version` is there, else what stands in
-- its way. No row: the name was changed meanwhile.
-- arrays: $1 names, $2 holders, $3 nonces, $4 ttls in microseconds, $5 metadata, $6 whether to announce, $7 whether to look first
with settings as materialized (
    select set_config('lock_timeout', '{lock_timeout}', true) as lock_timeout
),
request as materialized (
    select r.*
    from settings,
        unnest($1::text[], $2::text[], $3::uuid[], $4::int8[], $5::text[], $6::bool[], $7::bool[])
            with ordinality as r (lease_name, holder_id, grant_id, ttl_us, metadata, announce, look_first, position)
    where settings.lock_timeout is not null
),
-- Losers that looked first neither lock the row nor write (L2).
seen as materialized (
    select {state}
    from request as r
    cross join lateral (select * from {table} as q where q.lease_name = r.lease_name limit 1) as l
    where r.look_first
        and (l.grant_id = r.grant_id
            or (l.expires_at_utc > clock_timestamp()
                and (l.reserved_for = r.holder_id and l.grant_ended = 'released' and l.grant_version = l.version) is not true))
),
granted as (
    insert into {table} as l
        (lease_name, holder_id, version, acquired_at_utc, expires_at_utc,
         grant_id, grant_version, grant_ended, ttl_us, metadata, metadata_revision, reserved_for)
    select
        r.lease_name, r.holder_id, (date_part('epoch', r.now) * 1000000)::bigint, r.now, r.now + r.ttl_us * interval '1 microsecond',
        r.grant_id, (date_part('epoch', r.now) * 1000000)::bigint, null, r.ttl_us, r.metadata::jsonb, 0, null
    from (
        select o.*, clock_timestamp() as now
        -- Rows are locked in the order of their names, by everybody: no deadlocks.
        from (
            select * from request where lease_name not in (select lease_name from seen) order by lease_name collate "C"
        ) as o
    ) as r
    {take_over}
),
-- The conflict has locked these rows already. Locking them again shows their newest state, where a plain look would show
-- the state at the beginning of the statement.
missed as materialized (
    select {state}
    from (
        select lease_name from request
        where lease_name not in (select lease_name from granted) and lease_name not in (select lease_name from seen)
    ) as r
    cross join lateral (
        select * from {table} as q where q.lease_name = r.lease_name limit 1 for no key update
    ) as l
)
select
    r.position, g.version, g.lag_us, s.*,
    case when g.version is not null and r.announce then pg_notify('{channel}', r.lease_name)::text end as announced
from request as r
left join granted as g on g.lease_name = r.lease_name
left join (select * from seen union all select * from missed) as s on s.lease_name = r.lease_name
where g.version is not null or s.lease_name is not null
