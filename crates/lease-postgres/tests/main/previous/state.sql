-- What the library reads of a row `l`. Other software writes rows too, so every value is forced into its range:
-- a version below 1 is shown as 1, infinite and ancient times are clamped.
l.lease_name,
l.holder_id,
greatest(l.version, 1) as token,
(date_part('epoch', least(greatest(l.acquired_at_utc, timestamptz 'epoch'), timestamptz '2200-01-01 00:00:00+00')) * 1000000)::bigint
    as acquired_us,
case
    when l.grant_version = l.version and l.ttl_us is not null then l.ttl_us
    else (date_part('epoch',
        least(greatest(l.expires_at_utc, timestamptz 'epoch'), timestamptz '2200-01-01 00:00:00+00')
        - least(greatest(l.acquired_at_utc, timestamptz 'epoch'), timestamptz '2200-01-01 00:00:00+00')) * 1000000)::bigint
end as ttl_us,
(date_part('epoch',
    least(greatest(l.expires_at_utc, timestamptz 'epoch'), timestamptz '2200-01-01 00:00:00+00') - clock_timestamp()) * 1000000)::bigint
    as remaining_us,
l.metadata::text as metadata,
l.grant_id,
l.grant_version is not distinct from l.version as is_ours,
l.grant_ended,
l.reserved_for
