//! A lease as anybody can see it, and why it ends.

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

/// Why a lease is no longer held. Reported once per grant (L6).
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum LossReason {
    /// It could not be renewed in time.
    #[error("it expired")]
    Expired,
    /// Somebody else has it.
    #[error("it was taken over")]
    #[non_exhaustive]
    TakenOver {
        /// Who, where the store can say.
        by: Option<HolderId>,
        /// With which token, where the store can say.
        token: Option<FencingToken>,
    },
    /// An administrator ended it.
    #[error("it was broken by an administrator")]
    Broken,
    /// The store knows nothing of it.
    #[error("the store has no record of it")]
    Gone,
    /// It was held as long as `max_tenure` allows.
    #[error("its longest tenure is over")]
    TenureEnded,
    /// The client was closed, or the runtime that renewed it has ended.
    #[error("its client is gone")]
    ClientGone,
    /// Its holder released or abandoned it.
    #[error("it was released")]
    Released,
}

impl LossReason {
    /// Somebody else has it: who, and with which token, where the store can say.
    #[must_use]
    pub fn taken_over(by: impl Into<Option<HolderId>>, token: impl Into<Option<FencingToken>>) -> Self {
        Self::TakenOver { by: by.into(), token: token.into() }
    }
}
