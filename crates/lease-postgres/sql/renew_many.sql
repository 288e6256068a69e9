-- Renews many grants, each by itself. Returns a row per name: extended if it has `extended_us`, otherwise lost, with the state of
-- the lease; without a state the row was removed.
-- Arrays: $1 names, $2 holders, $3 nonces, $4 ttls in microseconds, $5 revisions of the metadata or null, $6 metadata
with settings as materialized (
    {settings}
),
request as materialized (
    select r.*
    from settings,
        unnest($1::text[], $2::text[], $3::uuid[], $4::int8[], $5::int8[], $6::text[])
            with ordinality as r (lease_name, holder_id, grant_id, ttl_us, revision, metadata, position)
    where settings.lock is not null
),
-- As in renew_one.sql. An update from a list would not keep the order of the list, and could deadlock.
extended as (
    insert into {table} as l
        (lease_name, holder_id, version, acquired_at_utc, expires_at_utc,
         grant_id, grant_version, grant_ended, ttl_us, metadata, metadata_revision)
    select
        r.lease_name, r.holder_id, q.version, timestamptz 'epoch', timestamptz 'epoch',
        r.grant_id, q.version, 'released', r.ttl_us, r.metadata::jsonb, r.revision
    from (select * from request order by lease_name collate "C") as r
    cross join lateral (select p.version from {table} as p where p.lease_name::text = r.lease_name limit 1) as q
    {extend}
    returning l.lease_name::text as lease_name, {extended} as extended_us, l.ttl_us as granted_us
),
missed as materialized (
    select {state}
    from (select lease_name from request where lease_name not in (select lease_name from extended)) as r
    cross join lateral (
        select * from {table} as q where q.lease_name::text = r.lease_name limit 1 for no key update
    ) as l
)
select {call}, r.position, e.extended_us, e.granted_us, m.*
from request as r
left join extended as e on e.lease_name = r.lease_name
left join missed as m on m.lease_name = r.lease_name
