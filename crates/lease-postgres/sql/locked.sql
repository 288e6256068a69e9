-- Returns the positions of those names whose rows other transactions are changing, so that the other requests need not wait for
-- them (L7). A share lock conflicts with transactions that change a row or lock it for a change, but not with another call of this
-- statement.
-- $1 names
with request as materialized (
    select r.* from pg_catalog.unnest($1::text[]) with ordinality as r (lease_name, position)
),
free as materialized (
    select l.lease_name
    from request as r
    cross join lateral (
        select q.lease_name::text as lease_name from {table} as q where q.lease_name::text = r.lease_name limit 1 for share skip locked
    ) as l
)
select r.position
from request as r
cross join lateral (select q.lease_name from {table} as q where q.lease_name::text = r.lease_name limit 1) as l
where r.lease_name not in (select lease_name from free)
