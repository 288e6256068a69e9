-- Raises the token of a fresh grant, before anybody was told of it.
-- The token of an inserted row is older than the row when the insert had to wait for somebody else, who may have granted a
-- higher one and deleted the row meanwhile (S9).
-- Should the answer be lost right here, a retry of the same attempt meets the grant with the lower token: two accidents in one
-- millisecond, on a name whose row was deleted.
-- $1 name, $2 holder, $3 nonce
update {table} as l set
    version = greatest(l.version + 1, c.now_us),
    grant_version = greatest(l.version + 1, c.now_us)
from (select (date_part('epoch', clock_timestamp()) * 1000000)::bigint as now_us offset 0) as c
where l.lease_name = $1 and l.holder_id = $2 and l.grant_id = $3 and l.grant_version = l.version
    and l.grant_ended is null and l.expires_at_utc > clock_timestamp()
returning l.version
