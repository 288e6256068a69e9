-- The settings of a statement's own transaction: how long it waits for a row that another transaction has locked, and that its
-- commit is on disk before it is answered, whatever the role or the server is set to. They are applied first, because the rows of
-- a statement are joined to this one.
select
    pg_catalog.set_config('lock_timeout', {lock_timeout}, true) as lock,
    pg_catalog.set_config(
        'synchronous_commit',
        case pg_catalog.current_setting('synchronous_commit') when 'off' then 'on' else pg_catalog.current_setting('synchronous_commit') end,
        true
    ) as commit
