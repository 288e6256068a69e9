-- What a statement sets for its own transaction: how long it waits for a row that somebody else has locked, and that its commit is
-- on the disk before it is answered, whatever the role or the server says. It comes first: the rows of a statement are made from it.
select
    pg_catalog.set_config('lock_timeout', {lock_timeout}, true) as lock,
    pg_catalog.set_config(
        'synchronous_commit',
        case pg_catalog.current_setting('synchronous_commit') when 'off' then 'on' else pg_catalog.current_setting('synchronous_commit') end,
        true
    ) as commit
