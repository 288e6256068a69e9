-- Ends one grant, by its owner. A row: freed.
-- Alone it holds up no neighbour, so it waits longer than the others for a row that many contend for.
-- The commit need not reach the disk: a release that is lost costs a wait for the ttl, a grant that is lost would cost safety.
-- $1 name, $2 holder, $3 nonce, $4 microseconds to keep the name blocked, $5 for whom it is reserved meanwhile
update {table} as l set
    expires_at_utc = clock_timestamp() + $4::int8 * interval '1 microsecond',
    -- The nonce and the token stay: S13, S11.
    grant_ended = 'released',
    reserved_for = $5,
    metadata = null,
    metadata_revision = null
from (
    select set_config('synchronous_commit', 'off', true) as commit, set_config('lock_timeout', '1s', true) as lock offset 0
) as settings
where l.lease_name = $1 and l.holder_id = $2 and l.grant_id = $3 and l.grant_version = l.version
    and l.grant_ended is null and l.expires_at_utc > clock_timestamp()
    and settings.commit is not null and settings.lock is not null
returning l.lease_name, {notify} as announced
