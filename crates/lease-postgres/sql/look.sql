-- The newest state of one name, in force or not.
-- $1 name
select {state}
from {table} as l
where l.lease_name::text = $1::text
