-- Ends the grant of other software with this token (S22). Returns a row if it did.
-- The row gets a new version, so that a renewal that compares the version fails.
-- $1 name, $2 token, $3 whether to free the name at once
with settings as materialized (
    {settings}
),
broken as (
    insert into {table} as l
        (lease_name, holder_id, version, acquired_at_utc, expires_at_utc, grant_version, grant_ended)
    select q.lease_name, q.holder_id, c.now_us, timestamptz 'epoch', timestamptz 'epoch', c.now_us, 'broken'
    from settings,
        {table} as q,
        lateral (select {us of clock_timestamp()} as now_us offset 0) as c
    -- The second comparison is for a collation that takes other names for equal.
    where q.lease_name::text = $1::text and q.lease_name::text collate "C" = $1::text and settings.lock is not null
    on conflict (lease_name) do update set
        expires_at_utc = case when $3::bool then least(l.expires_at_utc, clock_timestamp()) else l.expires_at_utc end,
        version = greatest(l.version + 1, excluded.version),
        grant_version = greatest(l.version + 1, excluded.version),
        grant_id = null,
        grant_ended = 'broken',
        reserved_for = null
    where l.grant_version is distinct from l.version and greatest(l.version, 1) = $2::int8 and l.expires_at_utc > clock_timestamp()
    returning case when l.xmax <> 0 then l.lease_name::text end as lease_name
)
select {call}, b.lease_name from broken as b where b.lease_name is not null
