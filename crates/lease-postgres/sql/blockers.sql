-- Describes the sessions that have locked the table, or are upgrading it; null if there are none any more.
-- $1 the quoted name of the table
select string_agg(
    'pid ' || b.pid::text || ' (' || coalesce(nullif(b.application_name, ''), 'no name') || ', user ' || coalesce(b.usename::text, '?') || ', '
        || coalesce(b.state, 'state unknown') || ')',
    ', '
) as blockers
from (
    select distinct a.pid, a.application_name, a.usename, a.state
    from pg_catalog.pg_locks as k
    join pg_catalog.pg_stat_activity as a on a.pid = k.pid
    where k.granted and a.pid <> pg_catalog.pg_backend_pid()
        and (
            k.relation = pg_catalog.to_regclass($1::text)::oid
            -- the lock that upgrades take first, in store/migrate.rs
            or k.locktype = 'advisory' and k.objsubid = 1::int2 and k.database = a.datid
                and (k.classid::int8 << 32 | k.objid::int8) = pg_catalog.hashtextextended('lease-postgres migrate ' || $1::text, 0::int8)
        )
    limit 5
) as b
