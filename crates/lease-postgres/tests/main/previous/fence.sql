-- Locks the row of a grant in force against everybody who would take it over. A row with true: it is held.
-- The row is locked first and judged afterwards.
-- $1 name, $2 token
select l.is_in_force and l.expires_at_utc > clock_timestamp() as is_held
from (
    select
        q.expires_at_utc,
        q.version = $2 and q.grant_version = q.version and q.grant_ended is null as is_in_force
    from {table} as q
    where q.lease_name = $1
    for share
) as l
