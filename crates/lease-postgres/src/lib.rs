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
//!     println!("mine, with the token {}", lease.token());
//!     lease.release().await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Where the application has a pool, [`PostgresStore::with_pool`] connects to the same place. Everything that can be configured is
//! in [`PostgresStoreOptions`].
//!
//! # What it promises
//!
//! * **One row a name**, `public.app_runtime_leases` by default, whose first five columns are a contract with other services:
//!   `lease_name`, `holder_id`, `version`, `acquired_at_utc`, `expires_at_utc`. A service that knows only these (inserts a row,
//!   takes over an expired one with `version + 1`, deletes its row on release) contends correctly with this library.
//! * **One statement an operation**, for one lease or for hundreds: a transaction by itself, judged on the newest, locked state of
//!   the row, by the server's `clock_timestamp()` (S3, S7). A statement waits for a row that somebody else keeps locked for 50 ms, and
//!   for all of its rows together for a second; then the others go on without those that are locked, which are `Unavailable` (L7). A
//!   renewal, or a release, that goes alone waits for a second.
//! * **Being wanted costs nothing**: who is refused has only looked, without a lock and without a write.
//! * **Connections of its own.** No statement of the application is on them, so that an answer is never one from inside of a
//!   transaction that is not committed. What a session rests on is set by the store, whatever the role, the database or the URL says:
//!   `read committed`, read-write, the two bounds, no plans that read the whole table, and no schema in the search path but
//!   `pg_catalog`. A trigger of yours on the table has to name its schemas.
//! * **Answers that prove themselves** (S25): each row has the number of its call. One that a driver or a pooler gave to the wrong
//!   call is not believed, and its connection ends.
//! * **A table that can keep the rules**: an ordinary one whose rows outlive a crash, whose names differ by every byte and whose five
//!   columns are `not null`. Anything else is refused by [`PostgresStore::migrate`] and at the first use. Rows that a row-level
//!   policy hides from the user are an error: they are never taken for free names (S19).
//! * **Fencing tokens** are the `version`: higher than the last one, and than every one from before by the server's clock in
//!   microseconds (S9, S10). So they keep rising when rows are purged, deleted by other services or by hand, restored from
//!   an older backup, or lost in a fail-over; only a clock that was set back *and* a lost row repeat one.
//! * **The last grant is remembered** in its row after its end, so that a delayed duplicate of its request grants nothing
//!   (S13). A service that deletes the row forgets it.
//! * **Waiters are woken** by `NOTIFY` after a release, over one connection for each runtime that waits, which reconnects. What is
//!   missed while it is away costs the time of a poll. The notification is a transaction of its own, after the answer: at its commit it waits for all
//!   others of the server that notify, in any database. There is none where nobody listens: whoever does shares an advisory lock, the
//!   number of the channel, which a release tries. Software of yours that listens must share it, too.
//! * **Every call ends**: a silent connection is given up 5 s after the statement must be over by itself, which is a second, 5 s for a
//!   page of a listing, 30 s for a stretch of a purge and a minute for an upgrade of the table.
//! * **A release need not reach the disk** before it is answered: if the server crashes at that moment, the lease ends with
//!   its ttl. Grants and renewals do, also where `synchronous_commit` is `off`; all other values of it count.
//! * **Mutual exclusion for data in the same database** with [`PostgresStore::commit_fenced`], where the table has the index for it
//!   ([`PostgresStoreOptions::fences`]).
//!
//! # What it does not promise
//!
//! * Exclusion of *effects* elsewhere: send the token with the write. See [`lease_core`]'s page.
//! * That a jump of the server's **wall clock** does no harm: it moves every expiry. Tokens still order who came when.
//! * That an **asynchronous replica**, promoted, knows the last grants: somebody else may be granted a lease whose holder still believes
//!   in it, until its deadline. Tokens still rise, as far as the servers' clocks agree. Use synchronous replication.
//! * That a grant whose wait for a synchronous standby is **cancelled** is on the standby. The server then answers as if it were, with
//!   a mere warning. Do not cancel statements that wait for `SyncRep`, least of all before a fail-over.
//! * That other services respect a break (S22) of their own grants: one that takes over whatever has its own holder id may take the
//!   name again at once.
//!
//! # What an operator types
//!
//! ```sql
//! -- who holds what
//! select lease_name, holder_id, version, expires_at_utc - clock_timestamp() as remaining, grant_ended, metadata
//! from app_runtime_leases where expires_at_utc > clock_timestamp() order by lease_name;
//! ```
//!
//! Somebody keeps the table locked, or new sessions out: `pg_stat_activity` and `pg_blocking_pids(pid)` say who. The sessions of this
//! library are called `lease-postgres` there, unless the URL has an `application_name`.
//!
//! On a table of other services whose `lease_name` is not collated `"C"`, each page of a listing and each stretch of a purge sorts
//! the whole table; and where its order changes with the system's C library, the key has to be built anew (`reindex`) at once: a name
//! that is not found in it would be inserted a second time.
//!
//! Other software may have written a version that is ahead of the clock, which all later tokens of that name then follow, or one at
//! the end of its range, after which nobody is granted the name. Set it lower by hand, while nobody holds the lease, and reset whatever
//! refuses older tokens of that name.
//!
//! To end a grant, use [`LeaseClient::break_lease`](lease_core::LeaseClient::break_lease). By hand, and giving exclusion up until the old holder's next
//! renewal: `update app_runtime_leases set expires_at_utc = clock_timestamp(), grant_ended = 'broken' where lease_name = '…'
//! and version = …`.
//!
//! # How many sessions
//!
//! A store has at most [`max_connections`](PostgresStoreOptions::max_connections) sessions for calls (8 by default), those counted whose
//! call was abandoned: each statement ends by itself, after a second as a rule, and until then its session keeps its place. Beside them
//! there is one for `LISTEN` on each runtime that waits, and for moments one for `NOTIFY`. What rests for 50 s is closed. Several runtimes
//! may share a store, or have it one after the other: a connection is used on no other one than that on which it was made.
//!
//! | a process | sessions |
//! |---|---|
//! | that tries, holds and renews | 1 |
//! | that waits, or is a candidate of an election | 2, and 3 in its first minute |
//! | with many tasks at once, or before a table that is locked | up to `max_connections` + 2 |
//!
//! So N replicas need between 2 N and 10 N sessions below the server's `max_connections` less its reserved ones and those of others: 20
//! idle candidates had 59 in the first minute and 40 afterwards. A fleet for which that is too much sets
//! [`max_connections`](PostgresStoreOptions::max_connections) to 2 or 3: calls go in batches, and few of them at a
//! time. Where the server has no room for another session (53300), those that are there go on: what is held is renewed.
//!
//! # How it grows
//!
//! One row for each name that was ever leased, of about 400 bytes with its index, and its metadata. Rows of names that do not come back are
//! removed by [`PostgresStore::purge`]. Renewals leave versions of their row behind on its page (HOT updates, no index is touched), which
//! the server tidies up by itself; do not switch autovacuum off for this table.
//!
//! It cannot while anybody has an **old snapshot**: a dump that takes hours, a session idle in transaction, a replication slot that nobody
//! reads. Each acquire, renewal and release then leaves a version behind that the next ones of this name go through: after 10 000
//! pairs a name took 4 ms for an acquire and a release instead of 1.7 ms, after 28 000 it took 7.7 ms, while the renewals of 2 000 other leases
//! noticed nothing. All is well at once when the old snapshot is gone.
//! After eight hours a call for 256 leases that are renewed takes about 0.2 s more. Who it is says this query, to a superuser or a member
//! of `pg_monitor`:
//!
//! ```sql
#![doc = include_str!("../sql/horizon.sql")]
//! ```
//!
//! # What a fail-over does
//!
//! Connections break, and calls fail until the server's name leads to the new primary; a server that says it is a replica is left, and
//! the next call resolves the name anew. A call whose answer was lost is of unknown outcome, and repeated as the same attempt (S13). A lease
//! is lost if that takes longer than what is left of it, as a rule two thirds of its ttl or more; otherwise it goes on with its token. What an
//! asynchronous replica has not received is forgotten: see above.
//!
//! In the log, under the target `lease`: `in jeopardy` (warn) for each lease whose renewal failed, once, with the reason; then
//! `out of jeopardy` (info) or `lost` (warn). Under `lease_postgres`: `waiters poll until notifications are back` (warn), each time
//! that listening failed. The reasons are such as `cannot be reached`, `is on a replica or read-only` (SQLSTATE 25006),
//! `terminating connection due to administrator command` (57P01), `the database system is starting up`, or `shutting down` (57P03).
//!
//! # Poolers
//!
//! A pooler that refuses or ignores the settings of a session, as `PgBouncer` does, is found out. Each call through it is one message of
//! the simple protocol that holds a whole transaction with its settings: one round trip, which a pooler in transaction mode carries as
//! well (tried with `PgBouncer` 1.18 as it is installed, in all of its modes). Nobody listens through it: waiters poll, though releases
//! notify those who listen elsewhere. Its pool must have room for what the section above says. The same form serves
//! where [prepared statements](PostgresStoreOptions::prepared_statements) are off.
//!
//! `pgpool` may send a plain look at a lease to a replica that lags behind: it shows an old holder then, but grants nothing. Switch
//! load balancing off for the user of the leases.
//!
//! # Rights
//!
//! `usage` on the schema; `select`, `insert` and `update` on the table; `delete` for [`PostgresStore::purge`]; the rights of its owner for
//! [`PostgresStore::migrate`] where there is something to do. The user of a transaction that is fenced needs `select` and `update` on
//! the table, too, because it locks the row of its lease.

mod acquire;
mod admin;
mod announcer;
mod batch;
mod connections;
mod connector;
mod error;
mod fence;
mod listener;
mod options;
mod pool;
mod release;
mod renew;
mod row;
mod schema;
mod statement;
mod statements;
mod store;
mod url;

pub use options::PostgresStoreOptions;
/// The driver, whose pools and transactions stand in signatures of this crate.
pub use sqlx;
pub use store::PostgresStore;

/// The store's name in errors and capabilities.
const STORE: &str = "postgres";

// The code of the README is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
