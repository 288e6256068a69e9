-- The first five columns are a contract with other services, which may use the table without this library.
-- The others belong to this library. They are nullable, because those services do not fill them.
-- The collation compares names byte by byte. There is no index on the expiry, and there is free space on each page, so that a
-- renewal stays on its page and changes no index (a HOT update).
create table if not exists {table} (
    lease_name text collate "C" primary key,
    holder_id text not null,
    version bigint not null,
    acquired_at_utc timestamptz not null,
    expires_at_utc timestamptz not null
);

alter table {table}
    add column if not exists grant_id uuid,
    add column if not exists grant_version bigint,
    add column if not exists grant_ended text,
    add column if not exists ttl_us bigint,
    add column if not exists metadata jsonb,
    add column if not exists metadata_revision bigint,
    add column if not exists reserved_for text;

alter table {table} set (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

comment on column {table}.lease_name is 'The name of the lease. Contract.';
comment on column {table}.holder_id is 'The current or last holder. Contract.';
comment on column {table}.version is 'The fencing token of the grant; rises with every grant. Contract.';
comment on column {table}.acquired_at_utc is 'When it was granted. Contract.';
comment on column {table}.expires_at_utc is 'When the grant, or the block after its end, expires unless renewed. Contract.';
comment on column {table}.grant_id is 'The nonce of the last grant, kept after its end.';
comment on column {table}.grant_version is 'The version of the last grant of this library; if it differs from version, other software made the last grant.';
comment on column {table}.grant_ended is 'How the grant was ended: released or broken; null while it is in force, and after it has expired.';
comment on column {table}.ttl_us is 'The ttl of the grant, in microseconds.';
comment on column {table}.metadata is 'The metadata of the holder.';
comment on column {table}.metadata_revision is 'The number of changes of the metadata within the grant.';
comment on column {table}.reserved_for is 'The holder that may acquire the lease before it expires, after a hand-over.';
