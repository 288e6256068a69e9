-- Returns one row about the unique indexes of the table: whether there is a key on the name alone, whether such a key is not
-- deferrable, and whether an index has the version as a column (see fence.sql).
-- $1 schema, $2 table
select
    coalesce(bool_or(k.columns = 'lease_name'), false) as has_key,
    coalesce(bool_or(k.columns = 'lease_name' and k.is_immediate), false) as has_immediate_key,
    coalesce(bool_or(k.has_version), false) as has_fence
from (
    select
        i.indimmediate as is_immediate,
        (select string_agg(a.attname::text, ', '::text)
            from pg_catalog.pg_attribute as a
            where a.attrelid = i.indrelid and a.attnum = any (i.indkey)) as columns,
        exists (
            select
            from pg_catalog.pg_attribute as a
            where a.attrelid = i.indrelid and a.attnum = any (i.indkey) and a.attname::text = 'version'
        ) as has_version
    from pg_catalog.pg_index as i
    join pg_catalog.pg_class as c on c.oid = i.indrelid
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname::text = $1::text and c.relname::text = $2::text
        and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
) as k
