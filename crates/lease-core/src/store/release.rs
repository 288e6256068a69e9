//! Asking for the end of a grant, and what a store answers.

use std::time::Duration;

use crate::{Claim, HolderId};

/// Asks for the end of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReleaseRequest {
    /// Whose grant.
    pub claim: Claim,
    /// How long the name stays blocked after the release; zero frees it at once.
    pub hold_for: Duration,
    /// Who may acquire it during that time all the same.
    pub reserved_for: Option<HolderId>,
}

impl ReleaseRequest {
    /// A release that frees the name at once.
    #[must_use]
    pub const fn new(claim: Claim) -> Self {
        Self { claim, hold_for: Duration::ZERO, reserved_for: None }
    }

    /// With the name blocked for this time.
    #[must_use]
    pub fn with_hold_for(self, hold_for: Duration) -> Self {
        Self { hold_for, ..self }
    }

    /// With the name reserved for this holder while it is blocked.
    #[must_use]
    pub fn with_reserved_for(self, reserved_for: impl Into<Option<HolderId>>) -> Self {
        Self { reserved_for: reserved_for.into(), ..self }
    }
}

/// The outcome of a release or a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Released {
    /// The grant has been ended by this call.
    Freed,
    /// The grant was not in force any more; nothing was changed.
    NotHeld,
}

/// How an administrator ends somebody's grant (S22). Exhaustive: a provider must know every way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Refuses further renewals, and leaves the name blocked for what is left of the grant. Exclusion holds.
    AfterExpiry,
    /// Frees the name at once. Exclusion is given up: until it is told, at its next renewal at the latest, the old holder
    /// believes that it holds the lease, and only the fencing token protects.
    Now,
}
