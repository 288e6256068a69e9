//! Leases in PostgreSQL, for [`lease_core`].
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use lease_core::LeaseClient;
//! use lease_postgres::PostgresStore;
//!
//! # async fn example() -> lease_core::Result<()> {
//! let store = PostgresStore::connect("postgres://app@db.example/app").await?;
//! store.migrate().await?; // creates or upgrades the table
//!
//! let client = LeaseClient::new(store);
//! if let Some(lease) = client.try_acquire("nightly-report", Duration::from_secs(30)).await?.acquired() {
//!     println!("acquired, with the token {}", lease.token());
//!     lease.release().await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! If the application has a pool, [`PostgresStore::with_pool`] connects to the same server. [`PostgresStoreOptions`] has all
//! options. Rules cited as S3 and so on are the numbered promises of the project, in its `SAFETY.md`.
//!
//! # Guarantees
//!
//! * **One row per name**, in the table `public.app_runtime_leases` by default. Its first five columns are a contract with other
//!   services: `lease_name`, `holder_id`, `version`, `acquired_at_utc`, `expires_at_utc`. A service that uses only these (inserts
//!   a row, takes over an expired one with `version + 1`, deletes its row on release) contends correctly with this library.
//! * **One statement per operation**, for one lease or for hundreds. It is a transaction of its own, and is judged on the newest,
//!   locked state of the row, by the server's `clock_timestamp()` (S3, S7). It waits at most 50 ms for a row that another
//!   transaction has locked, and at most a second for all of its rows. The leases of locked rows then fail with `Unavailable`, and
//!   all others go on (L7). A renewal or a release that is sent alone waits for a second.
//! * **A refused attempt only reads.** It neither locks nor writes, so a contended lease is renewed as any other (L2).
//! * **Connections of its own.** The application cannot run statements on them, so an answer never comes from inside an
//!   uncommitted transaction. The store sets what its sessions rely on, and overrides the role, the database and the URL: `read
//!   committed`, read-write, the two bounds above, no plans that read the whole table, and only `pg_catalog` in the search path. A
//!   trigger of yours on the table must therefore qualify names with their schemas.
//! * **Answers are verified** (S25): each row has the number of its call. The answer to another call, which a driver or a pooler
//!   may deliver by mistake, is rejected, and its connection is closed.
//! * **The table is verified.** It must be an ordinary, logged table, whose names are compared byte by byte and whose five columns
//!   are `not null`. [`PostgresStore::migrate`] and the first acquire refuse any other. Rows that a row-level policy hides from
//!   the user are an error; they are never taken for free names (S19).
//! * **Fencing tokens** are the `version`. A token is greater than the last one, and than the server's clock in microseconds at
//!   every earlier grant (S9, S10). Tokens therefore keep rising when rows are purged, deleted by other software, restored from an
//!   older backup, or lost in a fail-over. Only a clock that was set back *and* a lost row together repeat a token.
//! * **The last grant is remembered** in its row after its end, so that a delayed duplicate of its request grants nothing (S13). A
//!   service that deletes the row removes that memory.
//! * **Waiters are woken** by `NOTIFY` after a release, over one connection per runtime that waits. A notification that is missed,
//!   while that connection reconnects, costs the time of a poll. The notification is a transaction of its own, sent after the
//!   answer, because its commit waits for all other transactions of the server that notify, in any database. It is omitted if
//!   there is no listener: each listener shares an advisory lock, and a release tries that lock. Its key is the hexadecimal number
//!   in the name of the channel, as a signed 64-bit number. If your own software listens, it must share that lock as well.
//! * **Every call ends.** A statement ends by itself after a second; after 5 s for a page of a listing, 30 s for a batch of a
//!   purge, and a minute for an upgrade of the table. If there is no answer 5 s later, the connection is closed.
//! * **Grants and renewals are on disk** before they are answered, even if `synchronous_commit` is `off`; all its other values are
//!   respected. A release need not be: if the server crashes at that moment, the lease ends with its ttl.
//! * **Mutual exclusion for data in the same database** with [`PostgresStore::commit_fenced`], if the table has the index for it
//!   ([`PostgresStoreOptions::fences`]).
//!
//! # Limits
//!
//! The following is not guaranteed:
//!
//! * Exclusion of *effects* outside the database: send the token with the write, as the page of [`lease_core`] shows.
//! * Exclusion while the server's **wall clock** jumps: a jump moves every expiry. Tokens still order the grants.
//! * Exclusion after the promotion of an **asynchronous replica**. It may lack the last grants, and then grants a lease that its
//!   old holder still uses, until that holder's deadline. Tokens still rise, as far as the clocks of the servers agree. Use
//!   synchronous replication.
//! * That a grant is on the synchronous standby if its wait for it was **cancelled**: the server then answers as if it were, with
//!   a mere warning. Do not cancel statements that wait for `SyncRep`, least of all before a fail-over.
//! * That other services respect a break (S22) of their own grants: a service that takes over every row with its own holder id may
//!   take over the name again at once.
//!
//! # Queries for operators
//!
//! ```sql
//! -- the leases in force
//! select lease_name, holder_id, version, expires_at_utc - clock_timestamp() as remaining, grant_ended, metadata
//! from app_runtime_leases where expires_at_utc > clock_timestamp() order by lease_name;
//! ```
//!
//! * **A locked table, or no free sessions**: `pg_stat_activity` and `pg_blocking_pids(pid)` show which sessions cause it. The
//!   sessions of this library have the `application_name` `lease-postgres`, unless the URL sets another one.
//! * **To end a grant**, use [`LeaseClient::break_lease`](lease_core::LeaseClient::break_lease). By hand, without exclusion until
//!   the next renewal of the old holder: `update app_runtime_leases set expires_at_utc = clock_timestamp(), grant_ended = 'broken'
//!   where lease_name = '…' and version = …`.
//! * **A version that is too high**: other software may have written a version that is ahead of the clock, which all later tokens
//!   of that name then follow, or the largest one, after which the name cannot be granted. Set it lower by hand, while the lease
//!   is not held, and reset every resource that refuses older tokens of that name.
//! * **A table of other services without `collate "C"`** on `lease_name`: each page of a listing and each batch of a purge sorts
//!   the whole table. If an upgrade of the system's C library changes its order, rebuild the key at once (`reindex`): a name that
//!   is not found in it would be inserted a second time.
//!
//! # Sessions
//!
//! A store has at most [`max_connections`](PostgresStoreOptions::max_connections) sessions for calls, 8 by default. They include
//! the sessions of abandoned calls, until their statements end, usually after a second. In addition there is one session for
//! `LISTEN` on each runtime that waits, and, for a moment, one for `NOTIFY`. A connection that was idle for 50 s is closed.
//! Several runtimes may use one store; each connection is used only on the runtime on which it was opened.
//!
//! | A process | Sessions |
//! |---|---|
//! | that acquires, holds and renews | 1 |
//! | that waits, or is a candidate of an election | 2, and 3 in its first minute |
//! | with many concurrent tasks, or while the table is locked | up to `max_connections` + 2 |
//!
//! N replicas thus need between 2 N and 10 N sessions; the `max_connections` of the server must allow them beside its reserved
//! sessions and those of other software. Twenty idle candidates had 59 in the first minute and 40 afterwards. If that is too much,
//! set [`max_connections`](PostgresStoreOptions::max_connections) to 2 or 3: calls are batched, and few are made at a time. If the
//! server has no room for another session (53300), the existing ones are used, and held leases are renewed.
//!
//! # Growth
//!
//! There is one row for each name that was ever leased: about 400 bytes with its index, plus its metadata.
//! [`PostgresStore::purge`] removes the rows of names that are not used any more; it refuses an age of less than an hour. A renewal
//! leaves an old version of its row on the same page (a HOT update, which changes no index). The server removes old versions by
//! itself; do not switch autovacuum off for this table.
//!
//! It cannot remove them while there is an **old snapshot**: a dump that takes hours, a session idle in transaction, a replication
//! slot without a reader. Each acquire, renewal and release then adds a version that the next operations on this name read: an
//! acquire with its release took 1.7 ms at first, 4 ms after 10 000 pairs, and 7.7 ms after 28 000, while the renewals of 2 000
//! other leases were not slower. After eight hours, a renewal of 256 leases takes about 0.2 s longer. The delay ends with the old
//! snapshot. This query, by a superuser or a member of `pg_monitor`, shows its cause:
//!
//! ```sql
#![doc = include_str!("../sql/horizon.sql")]
//! ```
//!
//! # Fail-over
//!
//! Connections break, and calls fail until the server's name leads to the new primary. If a server reports that it is a replica,
//! its connection is closed, and the next call resolves the name again. A primary that is only set to
//! `default_transaction_read_only` does not report that: each session of the store sets its own, and grants on. Stop such a
//! server, or take the role's right to write. A call whose answer was lost has an unknown outcome, and
//! is repeated as the same attempt (S13). A lease is lost if the fail-over takes longer than the rest of its validity, usually at
//! least two thirds of its ttl; otherwise it is kept, with the same token. An asynchronous replica may lack grants: see
//! [Limits](#limits).
//!
//! The log shows, under the target `lease`: `in jeopardy` (warn), once for each lease whose renewal failed, with the reason; then
//! `out of jeopardy` (info) or `lost` (warn). Under `lease_postgres`: `no notifications: waiters poll` (warn), each time that
//! listening failed. Typical reasons are `cannot be reached`, `the connection … failed`, `is on a replica or read-only` (SQLSTATE
//! 25006), `terminating connection due to administrator command` (57P01), and `the database system is starting up` or `shutting
//! down` (57P03).
//!
//! # Poolers
//!
//! The store detects a pooler that refuses or ignores the settings of a session, as `PgBouncer` does. Each call is then one
//! message of the simple protocol, with a whole transaction and its settings in it: one round trip, which a pooler in transaction
//! mode carries as well (tested with `PgBouncer` 1.18 as it is installed, in all of its modes). The store cannot listen through
//! the pooler, so its waiters poll; its releases still notify listeners elsewhere. The pool of the pooler must have room for the
//! [sessions](#sessions). If [prepared statements](PostgresStoreOptions::prepared_statements) are off, calls have the same form.
//!
//! `pgpool` may send a read of a lease to a replica that lags behind. It then shows an old holder, but grants nothing. Switch load
//! balancing off for the user of the leases.
//!
//! # Privileges
//!
//! * For leases: `usage` on the schema; `select`, `insert` and `update` on the table.
//! * For [`PostgresStore::purge`]: `delete` on the table.
//! * For [`PostgresStore::migrate`], if there is something to do: those of the owner.
//! * For the user of a fenced transaction: `select` and `update` on the table, because the transaction locks the row of its lease.

// Each module uses only modules that are listed after it:
//
//   store         the public handle: connect, migrate, purge, fence, and the trait of a store
//   operation     acquire, renew, release; inspect, list, break
//   shared        what all clones of a store share
//   notification  hints by NOTIFY and LISTEN
//   server        the URL, connections, and calls over them
//   sql           the table, the statements, the settings of a session, the rows
//   batch         many requests in one call
//   error, sqlstate, failure, timeout, options
mod batch;
mod error;
mod failure;
mod notification;
mod operation;
mod options;
mod server;
mod shared;
mod sql;
mod sqlstate;
mod store;
mod timeout;

pub use options::PostgresStoreOptions;
/// The driver: its pools and transactions are part of the signatures of this crate.
pub use sqlx;
pub use store::PostgresStore;

/// The name of the store in errors and capabilities.
const STORE: &str = "postgres";

// The code of the README is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
