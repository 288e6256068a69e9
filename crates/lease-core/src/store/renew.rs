//! The request that extends a grant, and its outcome.

use std::time::Duration;

use crate::{Claim, LossReason, Metadata};

/// A request to extend a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RenewRequest {
    /// The grant to extend.
    pub claim: Claim,
    /// The ttl, counted from now.
    pub ttl: Duration,
    /// New metadata. The store replaces its metadata if this revision is higher.
    pub metadata: Option<MetadataUpdate>,
}

impl RenewRequest {
    /// Creates a request without new metadata.
    #[must_use]
    pub const fn new(claim: Claim, ttl: Duration) -> Self {
        Self { claim, ttl, metadata: None }
    }

    /// Sets the ttl.
    #[must_use]
    pub fn with_ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// Sets new metadata.
    #[must_use]
    pub fn with_metadata(self, metadata: impl Into<Option<MetadataUpdate>>) -> Self {
        Self { metadata: metadata.into(), ..self }
    }
}

/// Metadata that replaces that of a lease, unless the latter is newer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetadataUpdate {
    /// The number of the change within one grant, from 1.
    pub revision: u64,
    /// The complete new metadata.
    pub metadata: Metadata,
}

impl MetadataUpdate {
    /// Creates an update with this revision, which is at least 1.
    #[must_use]
    pub const fn new(revision: u64, metadata: Metadata) -> Self {
        Self { revision, metadata }
    }
}

/// The outcome of a [`RenewRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Renewed {
    /// The grant was extended.
    Extended {
        /// The least time that remains of it, counted from when the store call began (S8).
        remaining: Duration,
    },
    /// The grant is no longer in force, for this reason as far as the store can tell.
    Lost(LossReason),
}
