-- Locks the row of a grant in force against a take-over or a removal. Returns a row. If both of its columns are true, the lease is
-- held, and stays so until the transaction ends.
-- The row is locked first and judged afterwards.
-- The lock does not block renewals, because they change no column of a unique index. A take-over changes the version; only a
-- unique index with the version (`is_kept`) makes the lock block it.
-- $1 name, $2 token
select
    l.is_in_force and l.expires_at_utc > clock_timestamp() as is_held,
    exists (
        select
        from pg_catalog.pg_index as i
        join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid
        where i.indrelid = l.tableoid and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
            and a.attname::text = 'version' and a.attnum = any (i.indkey)
    ) as is_kept
from (
    select
        q.tableoid,
        q.expires_at_utc,
        q.version = $2::int8 and q.grant_version = q.version and q.grant_ended is null as is_in_force
    from {table} as q
    where q.lease_name::text = $1::text
    for key share
) as l
