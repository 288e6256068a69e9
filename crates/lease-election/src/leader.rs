//! Who leads, and how that changes.

use std::time::SystemTime;

use lease_core::{FencingToken, HolderId, LeaseRecord, LossReason, Metadata};

/// Who leads a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leader {
    /// The candidate.
    pub id: HolderId,
    /// The term: the fencing token of the leadership, greater for every new leader.
    pub term: FencingToken,
    /// What the candidate says about itself.
    pub metadata: Metadata,
    /// Since when it leads, by the store's wall clock.
    pub since: SystemTime,
}

impl Leader {
    /// Nobody leads while the name is merely blocked after a release.
    pub(crate) fn of(record: LeaseRecord) -> Option<Self> {
        let LeaseRecord { holder, token, acquired_at, metadata, released, .. } = record;
        (!released).then_some(Self { id: holder, term: token, metadata, since: acquired_at })
    }
}

/// A change of leadership, as one candidate or observer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeadershipChange {
    /// This candidate leads now, with this term.
    #[non_exhaustive]
    Acquired {
        /// The fencing token.
        term: FencingToken,
    },
    /// This candidate leads no more.
    #[non_exhaustive]
    Lost {
        /// The term that is over.
        term: FencingToken,
        /// Why.
        reason: LossReason,
    },
    /// The group has another leader, or none, or the leader says something else about itself.
    #[non_exhaustive]
    Changed {
        /// Who led before; nobody at the beginning of a stream.
        old: Option<Leader>,
        /// Who leads now.
        new: Option<Leader>,
    },
}

/// The kinds of [`LeadershipChange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeKind {
    /// [`LeadershipChange::Acquired`].
    Acquired,
    /// [`LeadershipChange::Lost`].
    Lost,
    /// [`LeadershipChange::Changed`].
    Changed,
}

impl LeadershipChange {
    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> ChangeKind {
        match self {
            Self::Acquired { .. } => ChangeKind::Acquired,
            Self::Lost { .. } => ChangeKind::Lost,
            Self::Changed { .. } => ChangeKind::Changed,
        }
    }
}
