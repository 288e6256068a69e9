-- The first five columns are a contract with other services, which may use the table without this library.
-- The others are this library's own, and nullable, because those services do not fill them.
-- Names are compared byte by byte, hence the collation. There is no index on the expiry, and there is room on each page, so
-- that every change stays on its page (a HOT update) and touches no index.
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

comment on column {table}.lease_name is 'What is leased. Contract.';
comment on column {table}.holder_id is 'Who holds or held it. Contract.';
comment on column {table}.version is 'The fencing token of the grant: rises with every grant. Contract.';
comment on column {table}.acquired_at_utc is 'When it was granted. Contract.';
comment on column {table}.expires_at_utc is 'Until when it is held or blocked, unless renewed. Contract.';
comment on column {table}.grant_id is 'The nonce of the last grant; kept after its end.';
comment on column {table}.grant_version is 'The version that these columns belong to; another version was granted by other software.';
comment on column {table}.grant_ended is 'null while the grant is in force or has run out; else released or broken.';
comment on column {table}.ttl_us is 'How long the grant lasts from a renewal on, in microseconds.';
comment on column {table}.metadata is 'What the holder says about itself.';
comment on column {table}.metadata_revision is 'Counts the changes of the metadata within a grant.';
comment on column {table}.reserved_for is 'Who may acquire it before it expires, after a hand-over.';
