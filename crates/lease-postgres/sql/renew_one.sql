-- Renews one grant. Returns a row with `extended_us` if it was extended. No row, or a row without it: lost; read_state.sql then reads
-- why. An update would judge the expiry before its wait for a row that is merely locked; the conflict judges it after the wait
-- (S7).
-- $1 name, $2 holder, $3 nonce, $4 ttl in microseconds, $5 revision of the metadata or null, $6 metadata, $7 how long to wait for
-- the row
with settings as materialized (
    {settings}
)
insert into {table} as l
    (lease_name, holder_id, version, acquired_at_utc, expires_at_utc,
     grant_id, grant_version, grant_ended, ttl_us, metadata, metadata_revision)
-- Only a name with a row is proposed. If the row is removed before the conflict, a grant that has ended is inserted, with its
-- token: harmless, and better than no row for software that counts the version up.
select
    q.lease_name, $2::text, q.version, timestamptz 'epoch', timestamptz 'epoch',
    $3::uuid, q.version, 'released', $4::int8, $6::text::jsonb, $5::int8
from settings, {table} as q
where q.lease_name::text = $1::text and settings.lock is not null
{extend}
returning {call}, {extended} as extended_us, l.ttl_us as granted_us
