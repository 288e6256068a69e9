-- The newest state of one name, in force or not. One row, also where the name has none: so the answer proves itself.
-- $1 name
select {call}, s.*
from (select) as asked
left join (select {state} from {table} as l where l.lease_name::text = $1::text) as s on true
