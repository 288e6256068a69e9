-- Which of these names are locked by somebody else right now, so that the others need not wait for them (L7).
-- $1 names
with request as materialized (select * from unnest($1::text[]) with ordinality as r (lease_name, position)),
free as materialized (
    select l.lease_name
    from request as r
    cross join lateral (
        select q.lease_name from {table} as q where q.lease_name = r.lease_name limit 1 for no key update skip locked
    ) as l
)
select r.position
from request as r
cross join lateral (select q.lease_name from {table} as q where q.lease_name = r.lease_name limit 1) as l
where r.lease_name not in (select lease_name from free)
