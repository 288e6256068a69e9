-- As acquire_one.sql, for a name that is likely held: a loser neither locks the row nor writes (L2), and is told who has it.
-- $1 name, $2 holder, $3 nonce, $4 ttl in microseconds, $5 metadata, $6 whether to announce a grant
with settings as materialized (
    select set_config('lock_timeout', '{lock_timeout}', true) as lock_timeout
),
seen as materialized (
    select {state}
    from {table} as l
    where l.lease_name = $1
        and (l.grant_id = $3
            or (l.expires_at_utc > clock_timestamp()
                and (l.reserved_for = $2 and l.grant_ended = 'released' and l.grant_version = l.version) is not true))
),
granted as (
    insert into {table} as l
        (lease_name, holder_id, version, acquired_at_utc, expires_at_utc,
         grant_id, grant_version, grant_ended, ttl_us, metadata, metadata_revision, reserved_for)
    select
        $1, $2, (date_part('epoch', c.now) * 1000000)::bigint, c.now, c.now + $4::int8 * interval '1 microsecond',
        $3, (date_part('epoch', c.now) * 1000000)::bigint, null, $4::int8, $5::jsonb, 0, null
    from (
        select clock_timestamp() as now from settings where lock_timeout is not null and not exists (select from seen) offset 0
    ) as c
    {take_over}
)
select
    g.version, g.lag_us, s.*,
    case when g.version is not null and $6::bool then pg_notify('{channel}', g.lease_name)::text end as announced
from granted as g
full join seen as s on true
