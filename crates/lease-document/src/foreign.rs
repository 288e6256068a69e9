//! Leases of other programs, in the documents of this library.

use std::time::Duration;

use lease_core::HolderId;

/// What the program that wrote a document last says of it, where that was not this library. It has no grant and no token.
///
/// Its lease is judged by watching, whatever judges those of this library (S2): it is taken over when the version of the document
/// has not changed for as long as it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// Nobody holds it.
    Free,
    /// It is held.
    Held {
        /// The holder.
        by: HolderId,
        /// For how long from each change of the document on.
        lasts: Duration,
    },
}

impl Foreign {
    /// Returns a lease with this holder, which nobody takes over before the document has been unchanged for `lasts`.
    #[must_use]
    pub fn held(by: HolderId, lasts: Duration) -> Self {
        Self::Held { by, lasts }
    }

    /// Returns for how long it lasts from a change of the document on.
    pub(crate) fn lasts(&self) -> Duration {
        match self {
            Self::Free => Duration::ZERO,
            Self::Held { lasts, .. } => *lasts,
        }
    }
}
