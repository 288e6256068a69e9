//! The request that ends a grant, and its outcome.

use std::time::Duration;

use crate::{Claim, HolderId};

/// A request to end a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReleaseRequest {
    /// The grant to end.
    pub claim: Claim,
    /// How long the name stays blocked after the release; zero frees it at once.
    pub hold_for: Duration,
    /// The holder that may acquire the name while it is blocked.
    pub reserved_for: Option<HolderId>,
}

impl ReleaseRequest {
    /// Creates a request that frees the name at once.
    #[must_use]
    pub const fn new(claim: Claim) -> Self {
        Self { claim, hold_for: Duration::ZERO, reserved_for: None }
    }

    /// Sets how long the name stays blocked.
    #[must_use]
    pub fn with_hold_for(self, hold_for: Duration) -> Self {
        Self { hold_for, ..self }
    }

    /// Sets the holder that may acquire the name while it is blocked.
    #[must_use]
    pub fn with_reserved_for(self, reserved_for: impl Into<Option<HolderId>>) -> Self {
        Self { reserved_for: reserved_for.into(), ..self }
    }
}

/// The outcome of a release or a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Released {
    /// This call ended the grant.
    Freed,
    /// The grant was no longer in force. Nothing was changed.
    NotHeld,
}

/// How an administrator ends a grant of any holder (S22). Exhaustive: a provider implements every way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Rejects further renewals, and leaves the name blocked for the rest of the grant. Mutual exclusion is kept.
    AfterExpiry,
    /// Frees the name at once. Mutual exclusion is given up: the old holder considers the lease held until its next renewal, and
    /// until then only the fencing token protects.
    Now,
}
