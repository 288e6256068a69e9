//! The state of a lease, as its holder sees it.

use crate::{LossReason, Moment};

/// The state of a lease, as its holder sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseState {
    /// The lease is held, and is renewed as planned.
    Held,
    /// The lease is still held, but a renewal failed, is overdue, or its outcome is unknown. A warning, not a loss (L9).
    #[non_exhaustive]
    Jeopardy {
        /// The moment, on the client's clock, at which the lease is lost unless a renewal succeeds before.
        until: Moment,
    },
    /// The lease is lost. This is final.
    Lost(LossReason),
}

impl LeaseState {
    /// Returns [`LeaseState::Jeopardy`] until this moment.
    #[must_use]
    pub const fn jeopardy(until: Moment) -> Self {
        Self::Jeopardy { until }
    }
}
