-- Who has a lock on the table, in words; nothing when nobody has any more.
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
    where k.relation = pg_catalog.to_regclass($1::text)::oid and k.granted and a.pid <> pg_catalog.pg_backend_pid()
    limit 5
) as b
