-- One attempt to get one lease. A row: granted. No row: held, spent, or changed meanwhile; look.sql tells which.
-- $1 name, $2 holder, $3 nonce, $4 ttl in microseconds, $5 metadata, $6 whether to announce a grant
with settings as materialized (
    select set_config('lock_timeout', '{lock_timeout}', true) as lock_timeout
)
insert into {table} as l
    (lease_name, holder_id, version, acquired_at_utc, expires_at_utc,
     grant_id, grant_version, grant_ended, ttl_us, metadata, metadata_revision, reserved_for)
select
    $1, $2, (date_part('epoch', c.now) * 1000000)::bigint, c.now, c.now + $4::int8 * interval '1 microsecond',
    $3, (date_part('epoch', c.now) * 1000000)::bigint, null, $4::int8, $5::jsonb, 0, null
from (select clock_timestamp() as now from settings where lock_timeout is not null offset 0) as c
{take_over},
    case when $6::bool then pg_notify('{channel}', l.lease_name)::text end as announced
