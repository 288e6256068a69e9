//! A lease as the store reports it.

use std::time::{Duration, SystemTime};

use crate::{FencingToken, HolderId, LeaseName, Metadata};

/// A lease that is in force, as the store reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseRecord {
    /// The name of the lease.
    pub name: LeaseName,
    /// The holder; the last holder, if the name is only blocked after a release.
    pub holder: HolderId,
    /// The fencing token of the grant.
    pub token: FencingToken,
    /// When it was granted, by the store's wall clock. For display only; no decision depends on it (S3).
    pub acquired_at: SystemTime,
    /// How long it lasts without a renewal.
    pub ttl: Duration,
    /// How much of it remained when the store read the record.
    pub remaining: Duration,
    /// The metadata that the holder stored with it.
    pub metadata: Metadata,
    /// Whether its holder has released it, and the name is only blocked for the remaining time: by
    /// [`hold_at_least`](crate::LeaseOptions::hold_at_least), or by a hand-over.
    pub released: bool,
}

impl LeaseRecord {
    /// Creates a record without metadata, not released, and acquired at the Unix epoch.
    #[must_use]
    pub const fn new(
        name: LeaseName,
        holder: HolderId,
        token: FencingToken,
        ttl: Duration,
        remaining: Duration,
    ) -> Self {
        Self {
            name,
            holder,
            token,
            acquired_at: SystemTime::UNIX_EPOCH,
            ttl,
            remaining,
            metadata: Metadata::empty(),
            released: false,
        }
    }

    /// Sets when it was granted.
    #[must_use]
    pub fn with_acquired_at(self, acquired_at: SystemTime) -> Self {
        Self { acquired_at, ..self }
    }

    /// Sets the remaining time.
    #[must_use]
    pub fn with_remaining(self, remaining: Duration) -> Self {
        Self { remaining, ..self }
    }

    /// Sets the metadata.
    #[must_use]
    pub fn with_metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// Sets whether its holder has released it.
    #[must_use]
    pub fn with_released(self, released: bool) -> Self {
        Self { released, ..self }
    }
}
