-- Ends the grant of this library with this token, for any holder (S22). Returns a row if it did.
-- As in renew_one.sql, the expiry is judged after the wait for the row. The version is not changed, so that the fence of a
-- transaction does not block it.
-- $1 name, $2 token, $3 whether to free the name at once
with settings as materialized (
    {settings}
),
broken as (
    insert into {table} as l
        (lease_name, holder_id, version, acquired_at_utc, expires_at_utc, grant_version, grant_ended)
    select q.lease_name, q.holder_id, q.version, timestamptz 'epoch', timestamptz 'epoch', q.version, 'broken'
    from settings, {table} as q
    -- The second comparison is for a collation that takes other names for equal.
    where q.lease_name::text = $1::text and q.lease_name::text collate "C" = $1::text and settings.lock is not null
    on conflict (lease_name) do update set
        expires_at_utc = case when $3::bool then least(l.expires_at_utc, clock_timestamp()) else l.expires_at_utc end,
        grant_ended = 'broken',
        reserved_for = null
    where l.grant_version = l.version and greatest(l.version, 1) = $2::int8 and l.expires_at_utc > clock_timestamp()
        -- After a release or another break, a name may still be blocked. It can be freed, but there is no grant to end.
        and ($3::bool or l.grant_ended is null)
    returning case when l.xmax <> 0 then l.lease_name::text end as lease_name
)
select {call}, b.lease_name from broken as b where b.lease_name is not null
