-- The end of every renewal, from the conflict on. It changes no column of an index, least of all the version, so that the fences
-- of transactions do not block it.
on conflict (lease_name) do update set
    expires_at_utc = greatest(l.expires_at_utc, clock_timestamp() + excluded.ttl_us::float8 * interval '1 microsecond'),
    metadata = case when excluded.metadata_revision > coalesce(l.metadata_revision, 0) then excluded.metadata else l.metadata end,
    metadata_revision = greatest(l.metadata_revision, excluded.metadata_revision)
where l.holder_id::text = excluded.holder_id::text and l.grant_id = excluded.grant_id and l.grant_version = l.version
    and l.grant_ended is null and l.expires_at_utc > clock_timestamp()
