-- Ends the grant with this token, whoever owns it (S22). A row: done.
-- A grant of other software gets a new version, so that a renewal of it that names the version fails.
-- $1 name, $2 token, $3 whether to free the name at once
update {table} as l set
    expires_at_utc = case when $3::bool then least(l.expires_at_utc, clock_timestamp()) else l.expires_at_utc end,
    version = case when l.grant_version = l.version then l.version else greatest(l.version + 1, c.now_us) end,
    grant_version = case when l.grant_version = l.version then l.version else greatest(l.version + 1, c.now_us) end,
    grant_id = case when l.grant_version = l.version then l.grant_id end,
    grant_ended = 'broken',
    reserved_for = null
from (
    select
        set_config('lock_timeout', '{lock_timeout}', true) as lock,
        (date_part('epoch', clock_timestamp()) * 1000000)::bigint as now_us
    offset 0
) as c
where l.lease_name = $1 and greatest(l.version, 1) = $2 and l.expires_at_utc > clock_timestamp()
    -- A name that is merely blocked, after a release or another break, can be freed, but there is no grant left to refuse.
    and ($3::bool or l.grant_version is distinct from l.version or l.grant_ended is null)
    and c.lock is not null
returning l.lease_name, {notify} as announced
