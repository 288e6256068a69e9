//! Why a lease is no longer held.

use crate::{FencingToken, HolderId, LeaseName};

/// The error of work that needs a lease which is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("lease {name} with token {token} was lost: {reason}")]
#[non_exhaustive]
pub struct LeaseLost {
    /// The name of the lease.
    pub name: LeaseName,
    /// The token of the lost grant.
    pub token: FencingToken,
    /// Why it was lost.
    pub reason: LossReason,
}

/// Why a lease is no longer held. Reported once per grant (L6).
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum LossReason {
    /// It was not renewed in time.
    #[error("it expired")]
    Expired,
    /// Another grant of the same name is in force.
    #[error("it was taken over by another holder")]
    #[non_exhaustive]
    TakenOver {
        /// The other holder, where the store reports it.
        by: Option<HolderId>,
        /// The token of the other grant, where the store reports it.
        token: Option<FencingToken>,
    },
    /// An administrator broke it; see [`LeaseClient::break_lease`](crate::LeaseClient::break_lease).
    #[error("it was broken by an administrator")]
    Broken,
    /// The store has no record of it: its data was lost or removed.
    #[error("the store has no record of it")]
    Gone,
    /// It was held for [`max_tenure`](crate::LeaseOptions::max_tenure).
    #[error("its maximum tenure has ended")]
    TenureEnded,
    /// The client was closed, or the runtime on which it renewed the lease has ended.
    #[error("the client was closed")]
    ClientGone,
    /// Its holder released or abandoned it.
    #[error("it was released")]
    Released,
}

impl LossReason {
    /// Returns the reason as one word, for labels and attributes: `"expired"`, `"taken_over"`, …
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::TakenOver { .. } => "taken_over",
            Self::Broken => "broken",
            Self::Gone => "gone",
            Self::TenureEnded => "tenure_ended",
            Self::ClientGone => "client_gone",
            Self::Released => "released",
        }
    }

    /// Returns [`LossReason::TakenOver`] with the other holder and its token, where the store reports them.
    #[must_use]
    pub fn taken_over(by: impl Into<Option<HolderId>>, token: impl Into<Option<FencingToken>>) -> Self {
        Self::TakenOver { by: by.into(), token: token.into() }
    }
}
