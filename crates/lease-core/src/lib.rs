//! Distributed leases, for work that only one replica of a service may do at a time.
//!
//! A *lease* is exclusive, time-limited ownership of a *name*. Its *holder* is a client. A *grant* is one tenure of a lease; it
//! has a *fencing token*, which is greater than all earlier ones of the same name. A *store* keeps leases: `lease-memory`,
//! `lease-postgres`, `lease-redis`, `lease-etcd`, or a provider of your own. An application depends on this crate and on one
//! provider. Changing the store changes the line that constructs it.
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
//! // Try once:
//! if let Some(lease) = client.try_acquire("nightly-report", ttl).await?.acquired() {
//!     // … renewed in the background, until:
//!     lease.release().await?;
//! }
//!
//! // Wait for the lease, run work under it, drop the work if the lease is lost, and release the lease afterwards:
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
//! # What a lease promises, and what it does not
//!
//! At most one guard of a name returns true from [`is_held`](LeaseHandle::is_held) at any time, provided that
//!
//! * the clock rate of this machine differs from the store's by no more than [`clock_drift`](LeaseOptions::clock_drift),
//! * the store keeps its promises (see its [`Capabilities`]), and
//! * no administrator breaks a lease with [`Break::Now`].
//!
//! A loss is signalled no later than the lease's deadline, even if the store is unreachable: the deadline is counted from *before*
//! the request was sent, on a clock that includes the time for which the machine is suspended.
//!
//! A lease does **not** promise mutual exclusion of *effects*. A process that is paused in the middle of a write resumes after its
//! deadline and finishes that write. A thread that blocks cannot be cancelled. For everything that must not happen twice, send the
//! [`FencingToken`] with the write, and let the resource reject a token that is smaller than one it has seen:
//!
//! ```sql
//! UPDATE accounts SET balance = $1, fence = $2 WHERE id = $3 AND fence <= $2
//! ```
//!
//! # Applications that may block their runtime
//!
//! A client works on one runtime (L10): the one on which it is built. If that runtime is blocked for longer than the ttl, by a
//! long computation or a driver that blocks its thread, leases are not renewed and are lost. In such an application, give the
//! client a runtime of its own, and construct the store there as well:
//!
//! ```
//! # use lease_core::LeaseClient;
//! # use lease_memory::MemoryStore;
//! # use std::time::Duration;
//! let leases = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
//! let client = leases.block_on(async {
//!     // Connect to the store here as well.
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
//! * [`LeaseClient`] acquires leases. [`Lease`] is the guard, [`LeaseHandle`] a view of it for other tasks, and [`LeaseOptions`]
//!   are the settings of a lease.
//! * [`LeaseState`] is the state of a lease, and [`LossReason`] why it was lost. [`Observer`] receives all events.
//! * [`Error`] and its [`ErrorKind`] say what the caller can do.
//! * [`LeaseStore`] is the trait for providers, which `lease-testkit` proves.
//! * [`Clock`] is the only source of time, so that tests can control it.
//!
//! Rules cited as S1, L7 and so on are the numbered promises of the project, in its `SAFETY.md`.

mod batch;
mod client;
mod clock;
mod error;
mod event;
mod grant;
mod observer;
mod options;
mod random;
mod retry;
mod runtime;
mod store;
mod value;

pub use client::{
    ClientBuilder, ClientHealth, Lease, LeaseClient, LeaseHandle, LeaseStates, LeaseWatch, RetryError, Trouble,
    TryAcquired, WorkScope,
};
pub use clock::{Clock, Moment, Sleep, SystemClock, TokioClock};
pub use error::{Error, ErrorKind, Result, in_full};
pub use event::{AttemptOutcome, ElectionChange, LeaseEvent, NotAcquired, WaitOutcome};
pub use grant::{InvalidOptions, LeaseState};
pub use observer::Observer;
pub use options::{LeaseOptions, Renewal};
pub use retry::Retry;
pub use store::{
    AcquireRequest, Acquired, Break, Capabilities, Claim, ExpiryJudge, Grant, LeaseRecord, LeaseStore, MetadataUpdate,
    ReleaseRequest, Released, RenewRequest, Renewed, Revocations, TokensSurvive, WakeupRegistry, Wakeups,
};
pub use value::{
    Correlation, FencingToken, GrantId, HolderId, IntoLeaseName, InvalidCorrelation, InvalidHolderId, InvalidMetadata,
    InvalidName, LeaseLost, LeaseName, LossReason, Metadata,
};

// The code of the README is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
