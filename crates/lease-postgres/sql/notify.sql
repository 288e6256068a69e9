-- Notifies listeners that leases have changed. It is a transaction of its own, after the change was answered: its commit waits for
-- every other transaction of the server that notifies, and a hint may cost time, but nothing else (S20).
-- It does not rely on the settings of a session.
-- $1 channel, $2 names
with settings as materialized (
    select
        pg_catalog.set_config('synchronous_commit', 'off', true) as commit,
        pg_catalog.set_config('lock_timeout', '5s', true) as lock
)
select count(pg_catalog.pg_notify($1::text, r.lease_name))
from settings, pg_catalog.unnest($2::text[]) as r (lease_name)
where settings.lock is not null
