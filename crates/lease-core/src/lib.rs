//! Distributed leases: some things must be done by one replica of a service at a time.
//!
//! A *lease* is exclusive, time-limited ownership of a *name*. The *holder* is who owns it. A *grant* is one tenure, with a
//! *fencing token* that is greater than all earlier ones of that name. A *store* keeps leases: `lease-memory`,
//! `lease-postgres`, or a provider of your own. An application depends on this crate and one provider; changing the store
//! changes the line that constructs it.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use std::time::Duration;
//! use lease_core::{LeaseClient, LeaseOptions};
//! use lease_memory::MemoryStore;
//!
//! let client = LeaseClient::new(MemoryStore::new());
//! let ttl = Duration::from_secs(30);
//!
//! // Once, if it is free:
//! if let Some(lease) = client.try_acquire("nightly-report", ttl).await?.acquired() {
//!     // … renewed in the background, until:
//!     lease.release().await?;
//! }
//!
//! // A scope of exclusive work, waited for, cancelled at a loss, and drained before the release:
//! let options = LeaseOptions::new(ttl).with_wait_limit(Duration::from_secs(10));
//! let written = client
//!     .run("migration", options, |lease| async move {
//!         // Send the token with every write that the lease protects.
//!         write_with_fence(lease.token().get()).await
//!     })
//!     .await?;
//! # assert_eq!(written, 1);
//! client.close().await?;
//! # Ok::<(), lease_core::Error>(())
//! # }).unwrap();
//! # async fn write_with_fence(token: u64) -> u64 { token }
//! ```
//!
//! # What a lease promises, and what not
//!
//! At most one guard says [`is_held`](LeaseHandle::is_held) at any time, provided that this machine's clock rate is off by no
//! more than [`clock_drift`](LeaseOptions::clock_drift), that the store keeps its own promises (see its [`Capabilities`]),
//! and that nobody breaks a lease with [`Break::Now`]. A loss is signalled no later than the lease's deadline, whatever the
//! store does: the deadline is counted from *before* the request left, and on a clock that goes on during suspend.
//!
//! It does **not** promise the mutual exclusion of *effects*. A process that is paused in the middle of a write wakes up after
//! its deadline and finishes that write; a thread that blocks cannot be cancelled. For everything that must not happen
//! twice, send the [`FencingToken`] with the write and let the resource refuse a smaller one than it has seen:
//!
//! ```sql
//! UPDATE accounts SET balance = $1, fence = $2 WHERE id = $3 AND fence <= $2
//! ```
//!
//! # An application that may block
//!
//! A client works on one runtime (L10): the one on which it is built. If that is blocked for longer than the ttl, by a loop or a driver
//! that waits in its thread, nobody renews, and its leases are lost. A runtime of its own, on which the store is made as well, goes on:
//!
//! ```
//! # use lease_core::LeaseClient;
//! # use lease_memory::MemoryStore;
//! # use std::time::Duration;
//! let leases = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
//! let client = leases.block_on(async {
//!     // Connect to the store here, too.
//!     LeaseClient::new(MemoryStore::new())
//! });
//!
//! let application = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! application.block_on(async {
//!     let lease = client.acquire("invoices", Duration::from_millis(200)).await?;
//!     std::thread::sleep(Duration::from_millis(400));
//!     assert!(lease.is_held());
//!     lease.release().await?;
//!     client.close().await
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to look
//!
//! * [`LeaseClient`] acquires; [`Lease`] is the guard, and [`LeaseHandle`] a view of it for other tasks; [`LeaseOptions`]
//!   say what is wanted.
//! * [`LeaseState`] is how a lease stands; [`LossReason`] why it was lost; [`Observer`] sees everything that happens.
//! * [`Error`] and its [`ErrorKind`] say what to do next.
//! * [`LeaseStore`] is for providers, which `lease-testkit` proves.
//! * [`Clock`] is the only reader of time, so that tests can turn it.
//!
//! Rules cited as S1, L7 and so on are the numbered promises of the project, listed in its `SAFETY.md`.

mod batch;
mod client;
mod clock;
mod error;
mod grant;
mod observer;
mod options;
mod random;
mod runtime;
mod store;
mod value;

pub use client::{ClientBuilder, Lease, LeaseClient, LeaseHandle, LeaseStates, LeaseWatch, TryAcquired, WorkScope};
pub use clock::{Clock, Moment, Sleep, SystemClock, TokioClock};
pub use error::{Error, ErrorKind, Result};
pub use grant::{InvalidOptions, LeaseState};
pub use observer::{AttemptOutcome, LeaseEvent, Observer, WaitOutcome};
pub use options::{LeaseOptions, Renewal};
pub use store::{
    AcquireRequest, Acquired, Break, Capabilities, Claim, ExpiryJudge, Grant, LeaseRecord, LeaseStore, MetadataUpdate,
    ReleaseRequest, Released, RenewRequest, Renewed, Revocations, TokensSurvive, WakeupRegistry, Wakeups,
};
pub use value::{
    FencingToken, GrantId, HolderId, IntoLeaseName, InvalidHolderId, InvalidMetadata, InvalidName, LeaseLost,
    LeaseName, LossReason, Metadata,
};
