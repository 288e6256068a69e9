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
//! A pool that the application has will do as well: [`PostgresStore::with_pool`]. Everything that can be configured is in
//! [`PostgresStoreOptions`].
//!
//! # What it promises
//!
//! * **One row a name**, `public.app_runtime_leases` by default, whose first five columns are a contract with other services:
//!   `lease_name`, `holder_id`, `version`, `acquired_at_utc`, `expires_at_utc`. A service that knows only these (inserts a row,
//!   takes over an expired one with `version + 1`, deletes its row on release) contends correctly with this library.
//! * **One statement an operation**, for one lease or for hundreds: a transaction by itself, judged on the newest, locked state of
//!   the row, by the server's `clock_timestamp()` (S3, S7). A row that somebody else keeps locked holds up its neighbours
//!   for 50 ms, and is `Unavailable` then (L7). A release that goes alone waits for a second.
//! * **Fencing tokens** are the `version`: higher than the last one, and than every one from before by the server's clock in
//!   microseconds (S9, S10). So they keep rising when rows are purged, deleted by other services or by hand, restored from
//!   an older backup, or lost in a fail-over; only a clock that was set back *and* a lost row repeat one.
//! * **The last grant is remembered** in its row after its end, so that a delayed duplicate of its request grants nothing
//!   (S13). A service that deletes the row forgets it.
//! * **Waiters are woken** by `NOTIFY` on release, over one connection a store, which reconnects. What is missed while it
//!   is away costs the time of a poll.
//! * **A release need not reach the disk** before it is answered: if the server crashes at that moment, the lease ends with
//!   its ttl. Grants and renewals are as durable as the server's `synchronous_commit` says; it must not be `off`.
//! * **Mutual exclusion for data in the same database** with [`PostgresStore::fence`].
//!
//! # What it does not promise
//!
//! * Exclusion of *effects* elsewhere: send the token with the write. See [`lease_core`]'s page.
//! * That a jump of the server's **wall clock** does no harm: it moves every expiry. Tokens still order who came when.
//! * That an **asynchronous replica**, promoted, knows the last grants: somebody else may be granted a lease whose holder still believes
//!   in it, until its deadline. Tokens still rise, as far as the servers' clocks agree. Use synchronous replication.
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
//! To end a grant, use [`LeaseClient::break_lease`](lease_core::LeaseClient::break_lease). By hand, and giving exclusion up until the old holder's next
//! renewal: `update app_runtime_leases set expires_at_utc = clock_timestamp(), grant_ended = 'broken' where lease_name = '…'
//! and version = …`.
//!
//! # Poolers
//!
//! In session mode nothing is special. In transaction mode turn [notifications](PostgresStoreOptions::notifications) off for
//! those who wait through the pooler, and, unless it keeps prepared statements (`PgBouncer` from 1.21 on does),
//! [prepared statements](PostgresStoreOptions::prepared_statements) too.
//!
//! # Rights
//!
//! `select`, `insert` and `update` on the table; `delete` for [`PostgresStore::purge`]; the rights of its owner for
//! [`PostgresStore::migrate`] where there is something to do.

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

pub use options::PostgresStoreOptions;
/// The driver, whose pools and transactions stand in signatures of this crate.
pub use sqlx;
pub use store::PostgresStore;

/// The store's name in errors and capabilities.
const STORE: &str = "postgres";
