-- The rest of every acquire, from the conflict on: takes over what is free, and says what became of it.
-- The alias `l` is the locked, newest row; `excluded` is the proposed one, and never says what is.
on conflict (lease_name) do update set
    holder_id = excluded.holder_id,
    -- S9, S10: above the last one, and above every one from before a loss of the row
    version = greatest(l.version + 1, excluded.version),
    acquired_at_utc = excluded.acquired_at_utc,
    expires_at_utc = clock_timestamp() + excluded.ttl_us * interval '1 microsecond',
    grant_id = excluded.grant_id,
    grant_version = greatest(l.version + 1, excluded.version),
    grant_ended = null,
    ttl_us = excluded.ttl_us,
    metadata = excluded.metadata,
    metadata_revision = 0,
    reserved_for = null
where (l.expires_at_utc <= clock_timestamp()
        or (l.reserved_for = excluded.holder_id and l.grant_ended = 'released' and l.grant_version = l.version))
    -- S13: a nonce grants once
    and l.grant_id is distinct from excluded.grant_id
returning
    l.lease_name,
    l.version,
    -- How old the token of an inserted row is: see raise.sql.
    case when l.xmax = 0 then (date_part('epoch', clock_timestamp() - l.acquired_at_utc) * 1000000)::bigint end as lag_us
