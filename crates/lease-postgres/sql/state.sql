-- The columns that the library reads of a row `l`. Other software writes rows as well, so every value is forced into its range: a
-- version below 1 is read as 1, a missing holder as an empty one, and infinite and ancient times are clamped.
l.lease_name::text as lease_name,
coalesce(l.holder_id::text, ''::text) as holder_id,
greatest(l.version, 1) as token,
{us of least(greatest(l.acquired_at_utc, timestamptz 'epoch'), timestamptz '2200-01-01 00:00:00+00')} as acquired_us,
case
    when l.grant_version = l.version and l.ttl_us is not null then l.ttl_us
    else {us of least(greatest(l.expires_at_utc, timestamptz 'epoch'), timestamptz '2200-01-01 00:00:00+00')
        - least(greatest(l.acquired_at_utc, timestamptz 'epoch'), timestamptz '2200-01-01 00:00:00+00')}
end as ttl_us,
{us of least(greatest(l.expires_at_utc, timestamptz 'epoch'), timestamptz '2200-01-01 00:00:00+00') - clock_timestamp()} as remaining_us,
l.metadata::text as metadata,
l.grant_id,
l.grant_version is not distinct from l.version as is_ours,
l.grant_ended,
l.reserved_for
