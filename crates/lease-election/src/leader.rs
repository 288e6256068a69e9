//! The leader of a group, and the changes of leadership.

use std::time::SystemTime;

use lease_core::{FencingToken, HolderId, LeaseRecord, LossReason, Metadata};

/// The leader of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leader {
    /// The id of the candidate.
    pub id: HolderId,
    /// The term: the fencing token of the leadership. It is greater for every new leader.
    pub term: FencingToken,
    /// The metadata of the candidate; see [`CandidateOptions::metadata`](crate::CandidateOptions::metadata).
    pub metadata: Metadata,
    /// The moment from which it leads, by the store's wall clock.
    pub since: SystemTime,
}

impl Leader {
    /// Returns the leader of this record, or `None` if the name is only blocked after a release.
    pub(crate) fn of(record: LeaseRecord) -> Option<Self> {
        let LeaseRecord { holder, token, acquired_at, metadata, released, .. } = record;
        (!released).then_some(Self { id: holder, term: token, metadata, since: acquired_at })
    }
}

/// A change of leadership, for one candidate or observer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeadershipChange {
    /// This candidate leads from now on.
    #[non_exhaustive]
    Acquired {
        /// The fencing token of the new term.
        term: FencingToken,
    },
    /// This candidate no longer leads.
    #[non_exhaustive]
    Lost {
        /// The fencing token of the term that has ended.
        term: FencingToken,
        /// The reason for the loss.
        reason: LossReason,
    },
    /// The group has another leader, or none, or the leader has changed its metadata.
    #[non_exhaustive]
    Changed {
        /// The leader before; `None` at the beginning of a stream.
        old: Option<Leader>,
        /// The leader now.
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
    /// Returns the kind of this change.
    #[must_use]
    pub fn kind(&self) -> ChangeKind {
        match self {
            Self::Acquired { .. } => ChangeKind::Acquired,
            Self::Lost { .. } => ChangeKind::Lost,
            Self::Changed { .. } => ChangeKind::Changed,
        }
    }
}
