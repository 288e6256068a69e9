-- Returns the newest state of one name, in force or not. Returns a row even for a name without one, so that the number of the call
-- is in every answer.
-- $1 name
select {call}, s.*
from (select) as always
left join (select {state} from {table} as l where l.lease_name::text = $1::text) as s on true
