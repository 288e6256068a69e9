//! Asking for an extension, and what a store answers.

use std::time::Duration;

use crate::{Claim, LossReason, Metadata};

/// Asks for an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RenewRequest {
    /// Whose grant.
    pub claim: Claim,
    /// The grant's ttl.
    pub ttl: Duration,
    /// New metadata. The store keeps it if its revision is higher than the one it has.
    pub metadata: Option<MetadataUpdate>,
}

impl RenewRequest {
    /// A renewal without new metadata.
    #[must_use]
    pub const fn new(claim: Claim, ttl: Duration) -> Self {
        Self { claim, ttl, metadata: None }
    }

    /// With this ttl.
    #[must_use]
    pub fn with_ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// With new metadata.
    #[must_use]
    pub fn with_metadata(self, metadata: impl Into<Option<MetadataUpdate>>) -> Self {
        Self { metadata: metadata.into(), ..self }
    }
}

/// Metadata that replaces what a lease has, unless that is newer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetadataUpdate {
    /// Counts the changes within one grant, from 1.
    pub revision: u64,
    /// All of the new metadata.
    pub metadata: Metadata,
}

impl MetadataUpdate {
    /// The change with this number, from 1.
    #[must_use]
    pub const fn new(revision: u64, metadata: Metadata) -> Self {
        Self { revision, metadata }
    }
}

/// The outcome of a [`RenewRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Renewed {
    /// The grant goes on.
    Extended {
        /// What is left of it, at the least, counted from the moment when the call of the store began (S8).
        remaining: Duration,
    },
    /// The grant is over, as far as the store knows for this reason.
    Lost(LossReason),
}
