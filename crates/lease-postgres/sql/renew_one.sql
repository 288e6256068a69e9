-- Extends one grant. A row with `extended_us`: extended. No row, or one without: lost; look.sql tells why.
-- An update of a row that was merely locked would judge the expiry before it waited; the conflict judges it after (S7).
-- $1 name, $2 holder, $3 nonce, $4 ttl in microseconds, $5 revision of the metadata or null, $6 metadata, $7 how long to wait
with settings as materialized (
    {settings}
)
insert into {table} as l
    (lease_name, holder_id, version, acquired_at_utc, expires_at_utc,
     grant_id, grant_version, grant_ended, ttl_us, metadata, metadata_revision)
-- Only a name that has a row is proposed. Should the row go before the conflict is met, what is inserted is a grant that has
-- ended, with its token: harmless, and better for whoever counts on from it than no row.
select
    q.lease_name, $2::text, q.version, timestamptz 'epoch', timestamptz 'epoch',
    $3::uuid, q.version, 'released', $4::int8, $6::text::jsonb, $5::int8
from settings, {table} as q
where q.lease_name::text = $1::text and settings.lock is not null
{extend}
returning {call}, {extended} as extended_us, l.ttl_us as granted_us
