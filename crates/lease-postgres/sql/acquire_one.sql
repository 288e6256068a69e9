-- Tries to acquire one lease. Returns a row: granted if it has a `version`, otherwise refused, with the state of the lease.
-- Returns no row if the lease changed meanwhile; read_state.sql then reads its state.
-- A refused attempt neither locks the row nor writes (L2): attempts of others must not cost the holder its lease.
-- $1 name, $2 holder, $3 nonce, $4 ttl in microseconds, $5 metadata
with settings as materialized (
    {settings}
),
seen as materialized (
    select {state}
    from {table} as l
    where l.lease_name::text = $1::text
        and (l.grant_id = $3::uuid
            or (l.expires_at_utc > clock_timestamp()
                and (l.reserved_for = $2::text and l.grant_ended = 'released' and l.grant_version = l.version) is not true))
),
granted as (
    insert into {table} as l
        (lease_name, holder_id, version, acquired_at_utc, expires_at_utc,
         grant_id, grant_version, grant_ended, ttl_us, metadata, metadata_revision, reserved_for)
    select
        $1::text, $2::text, {us of c.now}, c.now, c.now + $4::int8::float8 * interval '1 microsecond',
        $3::uuid, {us of c.now}, null, $4::int8, $5::text::jsonb, 0, null
    from (
        select clock_timestamp() as now from settings where lock is not null and not exists (select from seen) offset 0
    ) as c
    {take_over}
)
select {call}, g.version, g.lag_us, s.*
from granted as g
full join seen as s on true
