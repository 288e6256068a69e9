//! A lease as the store reports it.

use std::time::{Duration, SystemTime};

use crate::{FencingToken, HolderId, LeaseName, Metadata};

/// A lease in force, as anybody can see it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseRecord {
    /// The lease.
    pub name: LeaseName,
    /// Who holds it; while it is blocked after a release, who did.
    pub holder: HolderId,
    /// The token of the grant.
    pub token: FencingToken,
    /// When it was granted, by the store's wall clock. For people; nothing is decided by it (S3).
    pub acquired_at: SystemTime,
    /// How long it lasts from a grant or renewal on.
    pub ttl: Duration,
    /// What was left of it when the store looked.
    pub remaining: Duration,
    /// What the holder says about itself.
    pub metadata: Metadata,
    /// Its holder has released it, and the name is merely blocked for what remains: by
    /// [`hold_at_least`](crate::LeaseOptions::hold_at_least), or by a hand-over.
    pub released: bool,
}

impl LeaseRecord {
    /// A record without metadata, of a lease that was granted at the beginning of 1970 and is not released.
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

    /// Granted at this time.
    #[must_use]
    pub fn with_acquired_at(self, acquired_at: SystemTime) -> Self {
        Self { acquired_at, ..self }
    }

    /// With so much left.
    #[must_use]
    pub fn with_remaining(self, remaining: Duration) -> Self {
        Self { remaining, ..self }
    }

    /// With this metadata.
    #[must_use]
    pub fn with_metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// Released, and merely blocked, or not.
    #[must_use]
    pub fn with_released(self, released: bool) -> Self {
        Self { released, ..self }
    }
}
