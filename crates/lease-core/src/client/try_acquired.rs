//! The outcome of a single attempt.

use std::time::Duration;

use super::lease::Lease;
use crate::LeaseRecord;

/// The outcome of [`LeaseClient::try_acquire`](crate::LeaseClient::try_acquire).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # use std::time::Duration;
/// # use lease_core::{LeaseClient, TryAcquired};
/// # let client = LeaseClient::new(lease_memory::MemoryStore::new());
/// # let ttl = Duration::from_secs(30);
/// match client.try_acquire("nightly-report", ttl).await? {
///     TryAcquired::Acquired(lease) => println!("acquired with token {}", lease.token()),
///     TryAcquired::Held { by: Some(record), .. } => println!("held by {}", record.holder),
///     _ => println!("held by another holder"),
/// }
/// # Ok::<(), lease_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a lease is released as soon as its guard is dropped"]
#[non_exhaustive]
pub enum TryAcquired {
    /// The caller holds the lease.
    Acquired(Lease),
    /// Another holder has the lease, or the name is blocked.
    #[non_exhaustive]
    Held {
        /// The lease that is in force, where the store reports it.
        by: Option<LeaseRecord>,
        /// After which time the name may be free, where the store reports it.
        retry_after: Option<Duration>,
    },
}

impl TryAcquired {
    /// Returns the lease, or `None` if another holder has it.
    #[must_use = "a lease is released as soon as its guard is dropped"]
    pub fn acquired(self) -> Option<Lease> {
        match self {
            Self::Acquired(lease) => Some(lease),
            Self::Held { .. } => None,
        }
    }

    /// Returns whether the caller holds the lease.
    #[must_use]
    pub fn is_acquired(&self) -> bool {
        matches!(self, Self::Acquired(_))
    }
}
