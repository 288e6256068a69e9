-- Returns the properties that decide whether a table can keep the rules; no row if there is no such table.
-- $1 schema, $2 table
select
    c.relkind::text as kind,
    c.relpersistence::text = 'p'::text as is_permanent,
    (select string_agg(a.attname::text, ', '::text order by a.attnum)
        from pg_catalog.pg_attribute as a
        where a.attrelid = c.oid and not a.attnotnull and not a.attisdropped
            and a.attname::text in ('holder_id', 'version', 'acquired_at_utc', 'expires_at_utc')) as nullable,
    exists (
        select
        from pg_catalog.pg_attribute as a
        join pg_catalog.pg_collation as k on k.oid = a.attcollation
        where a.attrelid = c.oid and a.attname::text = 'lease_name' and not k.collisdeterministic
    ) as folds_names
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where n.nspname::text = $1::text and c.relname::text = $2::text
