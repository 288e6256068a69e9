-- Hints that leases have changed. In a transaction of its own, after what it tells of was answered: at its commit it waits for every
-- other transaction of the cluster that notifies, and a hint may cost time, but nothing else (S20).
-- It has no need of the settings of a session.
-- $1 channel, $2 names
with settings as materialized (
    select
        pg_catalog.set_config('synchronous_commit', 'off', true) as commit,
        pg_catalog.set_config('lock_timeout', '5s', true) as lock
)
select count(pg_catalog.pg_notify($1::text, r.lease_name))
from settings, pg_catalog.unnest($2::text[]) as r (lease_name)
where settings.lock is not null
