-- By it a renewal passes beside the fence of a transaction, and a take-over does not: see fence.sql. It holds no name twice that the key does not
-- hold twice, also while two services insert a new name at the same time; hence four columns.
create unique index if not exists {channel} on {table} (lease_name collate "C", version, acquired_at_utc, holder_id collate "C");
