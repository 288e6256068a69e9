-- Ends many grants, each by its owner. A row for each that was freed.
-- arrays: $1 names, $2 holders, $3 nonces, $4 microseconds to keep the name blocked, $5 for whom it is reserved meanwhile
with settings as materialized (
    select
        set_config('synchronous_commit', 'off', true) as commit,
        set_config('lock_timeout', '{lock_timeout}', true) as lock
),
request as materialized (
    select r.*
    from settings,
        unnest($1::text[], $2::text[], $3::uuid[], $4::int8[], $5::text[])
            with ordinality as r (lease_name, holder_id, grant_id, hold_us, reserved_for, position)
    where settings.commit is not null and settings.lock is not null
),
freed as (
    insert into {table} as l
        (lease_name, holder_id, version, acquired_at_utc, expires_at_utc, grant_id, grant_version, grant_ended, ttl_us, reserved_for)
    select
        r.lease_name, r.holder_id, q.version, timestamptz 'epoch', timestamptz 'epoch', r.grant_id, q.version, 'released', r.hold_us,
        r.reserved_for
    from (select * from request order by lease_name collate "C") as r
    cross join lateral (select p.version from {table} as p where p.lease_name = r.lease_name limit 1) as q
    on conflict (lease_name) do update set
        expires_at_utc = clock_timestamp() + excluded.ttl_us * interval '1 microsecond',
        grant_ended = 'released',
        reserved_for = excluded.reserved_for,
        metadata = null,
        metadata_revision = null
    where l.holder_id = excluded.holder_id and l.grant_id = excluded.grant_id and l.grant_version = l.version
        and l.grant_ended is null and l.expires_at_utc > clock_timestamp()
    returning case when l.xmax <> 0 then l.lease_name end as lease_name
)
select r.position, {notify} as announced
from freed as l
join request as r on r.lease_name = l.lease_name
