-- Extends one grant. A row with `remaining_us`: extended. No row, or one without: lost; look.sql tells why.
-- An update of a row that was merely locked would judge the expiry before it waited; the conflict judges it after (S7).
-- $1 name, $2 holder, $3 nonce, $4 ttl in microseconds, $5 revision of the metadata or null, $6 metadata
with settings as materialized (
    select set_config('lock_timeout', '{lock_timeout}', true) as lock_timeout
)
insert into {table} as l
    (lease_name, holder_id, version, acquired_at_utc, expires_at_utc,
     grant_id, grant_version, grant_ended, ttl_us, metadata, metadata_revision)
-- Only a name that has a row is proposed. Should the row go before the conflict is met, what is inserted is a grant that has
-- ended, with its token: harmless, and better for whoever counts on from it than no row.
select q.lease_name, $2, q.version, timestamptz 'epoch', timestamptz 'epoch', $3, q.version, 'released', $4::int8, $6::jsonb, $5::int8
from settings, {table} as q
where q.lease_name = $1 and settings.lock_timeout is not null
on conflict (lease_name) do update set
    expires_at_utc = greatest(l.expires_at_utc, clock_timestamp() + excluded.ttl_us * interval '1 microsecond'),
    metadata = case when excluded.metadata_revision > coalesce(l.metadata_revision, 0) then excluded.metadata else l.metadata end,
    metadata_revision = greatest(l.metadata_revision, excluded.metadata_revision)
where l.holder_id = excluded.holder_id and l.grant_id = excluded.grant_id and l.grant_version = l.version
    and l.grant_ended is null and l.expires_at_utc > clock_timestamp()
returning case when l.xmax <> 0 then (date_part('epoch', l.expires_at_utc - clock_timestamp()) * 1000000)::bigint end as remaining_us
