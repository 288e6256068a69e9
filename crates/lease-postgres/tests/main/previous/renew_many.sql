-- Extends many grants, each by itself. One row a name: extended when `extended_us` is there, else lost, for what the row says;
-- without a state the name is gone.
-- arrays: $1 names, $2 holders, $3 nonces, $4 ttls in microseconds, $5 revisions of the metadata or null, $6 metadata
with settings as materialized (
    select set_config('lock_timeout', '{lock_timeout}', true) as lock_timeout
),
request as materialized (
    select r.*
    from settings,
        unnest($1::text[], $2::text[], $3::uuid[], $4::int8[], $5::int8[], $6::text[])
            with ordinality as r (lease_name, holder_id, grant_id, ttl_us, revision, metadata, position)
    where settings.lock_timeout is not null
),
-- As in renew_one.sql. An update from a list would not keep the order of the list, and deadlock.
extended as (
    insert into {table} as l
        (lease_name, holder_id, version, acquired_at_utc, expires_at_utc,
         grant_id, grant_version, grant_ended, ttl_us, metadata, metadata_revision)
    select
        r.lease_name, r.holder_id, q.version, timestamptz 'epoch', timestamptz 'epoch',
        r.grant_id, q.version, 'released', r.ttl_us, r.metadata::jsonb, r.revision
    from (select * from request order by lease_name collate "C") as r
    cross join lateral (select p.version from {table} as p where p.lease_name = r.lease_name limit 1) as q
    on conflict (lease_name) do update set
        expires_at_utc = greatest(l.expires_at_utc, clock_timestamp() + excluded.ttl_us * interval '1 microsecond'),
        metadata = case when excluded.metadata_revision > coalesce(l.metadata_revision, 0) then excluded.metadata else l.metadata end,
        metadata_revision = greatest(l.metadata_revision, excluded.metadata_revision)
    where l.holder_id = excluded.holder_id and l.grant_id = excluded.grant_id and l.grant_version = l.version
        and l.grant_ended is null and l.expires_at_utc > clock_timestamp()
    returning
        l.lease_name,
        case when l.xmax <> 0 then (date_part('epoch', l.expires_at_utc - clock_timestamp()) * 1000000)::bigint end as extended_us
),
missed as materialized (
    select {state}
    from (select lease_name from request where lease_name not in (select lease_name from extended)) as r
    cross join lateral (
        select * from {table} as q where q.lease_name = r.lease_name limit 1 for no key update
    ) as l
)
select r.position, e.extended_us, m.*
from request as r
left join extended as e on e.lease_name = r.lease_name
left join missed as m on m.lease_name = r.lease_name
