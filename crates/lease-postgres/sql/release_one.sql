-- Releases one grant, by its owner. Returns a row if the name was freed. As in renew_one.sql, the expiry is judged after the wait
-- for the row. The commit need not reach the disk: a lost release costs a wait for the ttl, a lost grant would cost safety.
-- $1 name, $2 holder, $3 nonce, $4 microseconds for which the name stays blocked, $5 the holder for which it is reserved
-- meanwhile,
-- $6 how long to wait for the row
with settings as materialized (
    select
        pg_catalog.set_config('synchronous_commit', 'off', true) as commit,
        pg_catalog.set_config('lock_timeout', $6::text, true) as lock
),
freed as (
    insert into {table} as l
        (lease_name, holder_id, version, acquired_at_utc, expires_at_utc, grant_id, grant_version, grant_ended, ttl_us, reserved_for)
    select
        q.lease_name, $2::text, q.version, timestamptz 'epoch', timestamptz 'epoch', $3::uuid, q.version, 'released', $4::int8, $5::text
    from settings, {table} as q
    where q.lease_name::text = $1::text and settings.lock is not null
    on conflict (lease_name) do update set
        expires_at_utc = clock_timestamp() + excluded.ttl_us::float8 * interval '1 microsecond',
        -- The nonce and the token are kept: S13, S11.
        grant_ended = 'released',
        reserved_for = excluded.reserved_for,
        metadata = null,
        metadata_revision = null
    where l.holder_id::text = excluded.holder_id::text and l.grant_id = excluded.grant_id and l.grant_version = l.version
        and l.grant_ended is null and l.expires_at_utc > clock_timestamp()
    returning case when l.xmax <> 0 then l.lease_name::text end as lease_name
)
select {call}, l.lease_name, {has_listeners} from freed as l where l.lease_name is not null
