-- Returns the columns of the table; no row if there is no such table.
-- $1 schema, $2 table
select a.attname::text as name, pg_catalog.format_type(a.atttypid, null) as type
from pg_catalog.pg_attribute as a
join pg_catalog.pg_class as c on c.oid = a.attrelid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where n.nspname::text = $1::text and c.relname::text = $2::text and a.attnum > 0 and not a.attisdropped
