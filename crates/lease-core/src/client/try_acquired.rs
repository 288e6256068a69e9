//! What came of a try.

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
///     TryAcquired::Acquired(lease) => println!("it is ours, with token {}", lease.token()),
///     TryAcquired::Held { by: Some(record), .. } => println!("{} has it", record.holder),
///     _ => println!("somebody else has it"),
/// }
/// # Ok::<(), lease_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a lease is released as soon as its guard is dropped"]
#[non_exhaustive]
pub enum TryAcquired {
    /// The lease is the caller's.
    Acquired(Lease),
    /// Somebody else has it, or the name is blocked.
    #[non_exhaustive]
    Held {
        /// The record that is in force, where the store says so.
        by: Option<LeaseRecord>,
        /// After which time the name may be free, where the store can say.
        retry_after: Option<Duration>,
    },
}

impl TryAcquired {
    /// Returns the lease, or `None` if somebody else has it.
    #[must_use = "a lease is released as soon as its guard is dropped"]
    pub fn acquired(self) -> Option<Lease> {
        match self {
            Self::Acquired(lease) => Some(lease),
            Self::Held { .. } => None,
        }
    }

    /// Returns whether the lease is the caller's.
    #[must_use]
    pub fn is_acquired(&self) -> bool {
        matches!(self, Self::Acquired(_))
    }
}
