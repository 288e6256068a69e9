-- Because of this index, the fence of a transaction blocks a take-over but no renewal: see fence.sql. It has four columns so that
-- it adds no constraint to that of the primary key, even while two services insert the same new name.
create unique index if not exists {channel} on {table} (lease_name collate "C", version, acquired_at_utc, holder_id collate "C");
