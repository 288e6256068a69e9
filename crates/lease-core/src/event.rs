//! Events of leases.

use std::time::Duration;

use crate::{Correlation, Error, ErrorKind, FencingToken, HolderId, LeaseName, LossReason, Released, Result};

/// An event of a lease.
///
/// Later versions may add events and fields: match with `..`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LeaseEvent {
    /// An attempt to acquire a lease was answered by the store, or given up.
    #[non_exhaustive]
    Attempted {
        /// The name of the lease.
        name: LeaseName,
        /// The holder that requested it.
        holder: HolderId,
        /// The outcome.
        outcome: AttemptOutcome,
        /// The time from the request to its answer, or until it was given up.
        took: Duration,
        /// The correlation id of the lease, if it has one.
        correlation: Option<Correlation>,
    },
    /// A lease was granted.
    #[non_exhaustive]
    Granted {
        /// The name of the lease.
        name: LeaseName,
        /// The holder.
        holder: HolderId,
        /// The fencing token.
        token: FencingToken,
        /// The ttl: what each renewal asks of the store.
        ttl: Duration,
        /// How long it is valid without a renewal.
        valid_for: Duration,
        /// The time since the caller requested it.
        waited: Duration,
        /// The number of attempts, this one included.
        attempts: u32,
        /// The correlation id of the lease, if it has one.
        correlation: Option<Correlation>,
    },
    /// A call of [`acquire`](crate::LeaseClient::acquire) or [`try_acquire`](crate::LeaseClient::try_acquire) has ended without a
    /// lease. Each call ends with one [`Granted`](Self::Granted) or one of this, unless it was refused before the first attempt.
    #[non_exhaustive]
    NotAcquired {
        /// The name of the lease.
        name: LeaseName,
        /// The holder that requested it.
        holder: HolderId,
        /// Why the call ended.
        reason: NotAcquired,
        /// The time since the caller requested it.
        waited: Duration,
        /// The number of attempts.
        attempts: u32,
        /// The correlation id of the lease, if it has one.
        correlation: Option<Correlation>,
    },
    /// A lease was renewed.
    #[non_exhaustive]
    Renewed {
        /// The name of the lease.
        name: LeaseName,
        /// The holder.
        holder: HolderId,
        /// The fencing token.
        token: FencingToken,
        /// How long it is valid without a renewal.
        valid_for: Duration,
        /// The time from the request to its answer.
        took: Duration,
        /// The correlation id of the lease, if it has one.
        correlation: Option<Correlation>,
    },
    /// The store answered a renewal: the lease is not this holder's any more. [`Lost`](Self::Lost) follows.
    #[non_exhaustive]
    RenewalRefused {
        /// The name of the lease.
        name: LeaseName,
        /// The holder.
        holder: HolderId,
        /// The fencing token.
        token: FencingToken,
        /// The reason, as the store reports it.
        reason: LossReason,
        /// The time from the request to its answer.
        took: Duration,
        /// The correlation id of the lease, if it has one.
        correlation: Option<Correlation>,
    },
    /// A renewal failed, or its outcome is unknown, or its answer is overdue. It is repeated.
    #[non_exhaustive]
    RenewalFailed {
        /// The name of the lease.
        name: LeaseName,
        /// The holder.
        holder: HolderId,
        /// The fencing token.
        token: FencingToken,
        /// The error.
        error: Error,
        /// The time from the request to its answer, or until now if that is overdue.
        took: Duration,
        /// Whether the answer is overdue. The renewal has not ended then: its end is reported as well, unless the lease is lost or a
        /// later renewal succeeds before.
        is_overdue: bool,
        /// The correlation id of the lease, if it has one.
        correlation: Option<Correlation>,
    },
    /// A lease is in jeopardy: a renewal failed, is overdue, or its outcome is unknown. The lease will be lost unless a renewal
    /// succeeds (L9). Reported once, until it has recovered.
    #[non_exhaustive]
    Jeopardy {
        /// The name of the lease.
        name: LeaseName,
        /// The holder.
        holder: HolderId,
        /// The fencing token.
        token: FencingToken,
        /// How long it is still valid.
        remaining: Duration,
        /// The error of the renewal.
        error: Error,
        /// The correlation id of the lease, if it has one.
        correlation: Option<Correlation>,
    },
    /// A lease is no longer in jeopardy (L9).
    #[non_exhaustive]
    Recovered {
        /// The name of the lease.
        name: LeaseName,
        /// The holder.
        holder: HolderId,
        /// The fencing token.
        token: FencingToken,
        /// The correlation id of the lease, if it has one.
        correlation: Option<Correlation>,
    },
    /// A lease is no longer held. Reported once per grant (L6).
    #[non_exhaustive]
    Lost {
        /// The name of the lease.
        name: LeaseName,
        /// The holder.
        holder: HolderId,
        /// The fencing token.
        token: FencingToken,
        /// The reason.
        reason: LossReason,
        /// The time since the request that brought the grant was sent.
        held_for: Duration,
        /// The correlation id of the lease, if it has one.
        correlation: Option<Correlation>,
    },
    /// A release was answered by the store, or given up.
    #[non_exhaustive]
    Released {
        /// The name of the lease.
        name: LeaseName,
        /// The holder.
        holder: HolderId,
        /// The fencing token; `None` for a grant that was requested and never seen.
        token: Option<FencingToken>,
        /// The outcome.
        outcome: Result<Released>,
        /// The time from the request to its answer, or until it was given up.
        took: Duration,
        /// The correlation id of the lease, if it has one.
        correlation: Option<Correlation>,
    },
    /// A caller began to wait for a name that is held.
    #[non_exhaustive]
    WaitStarted {
        /// The name of the lease.
        name: LeaseName,
        /// The holder for which it waits.
        holder: HolderId,
        /// The correlation id of the lease, if it has one.
        correlation: Option<Correlation>,
    },
    /// A caller stopped waiting.
    #[non_exhaustive]
    WaitEnded {
        /// The name of the lease.
        name: LeaseName,
        /// The holder for which it waited.
        holder: HolderId,
        /// How long it waited.
        waited: Duration,
        /// The outcome.
        outcome: WaitOutcome,
        /// The correlation id of the lease, if it has one.
        correlation: Option<Correlation>,
    },
    /// A candidate of an election began or ended a term of leadership. Reported by `lease-election`.
    #[non_exhaustive]
    Election {
        /// The name of the lease that decides the election.
        name: LeaseName,
        /// The candidate.
        holder: HolderId,
        /// The fencing token of the term.
        token: FencingToken,
        /// What changed.
        change: ElectionChange,
    },
}

impl LeaseEvent {
    /// Creates an event of an election, for crates that build elections on leases; see
    /// [`LeaseClient::report`](crate::LeaseClient::report).
    #[must_use]
    pub const fn election(name: LeaseName, holder: HolderId, token: FencingToken, change: ElectionChange) -> Self {
        Self::Election { name, holder, token, change }
    }
}

/// A change in the leadership of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ElectionChange {
    /// The candidate leads.
    Leads,
    /// The leader is about to step down: the work of its term is asked to end.
    Draining,
    /// The term has ended. The reason [`LossReason::Released`] means that the leader stepped down.
    Ended {
        /// Why it ended.
        reason: LossReason,
        /// How long the candidate led.
        led_for: Duration,
    },
}

/// The outcome of an attempt to acquire a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttemptOutcome {
    /// The lease was granted.
    Granted,
    /// Another holder has the lease, or the name is blocked.
    Held,
    /// The attempt failed, or its outcome is unknown.
    Failed(ErrorKind),
}

/// Why a call ended without a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotAcquired {
    /// Another holder has the lease, or the name is blocked, and the call does not wait.
    Held,
    /// The [wait limit](crate::LeaseOptions::wait_limit) passed.
    LimitPassed,
    /// The client was closed, or its runtime has ended.
    Closed,
    /// The future was dropped.
    Dropped,
    /// An error occurred.
    Failed(ErrorKind),
}

/// The outcome of waiting for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitOutcome {
    /// The lease was acquired.
    Won,
    /// The [wait limit](crate::LeaseOptions::wait_limit) passed.
    LimitPassed,
    /// The client was closed.
    Closed,
    /// The future was dropped.
    Dropped,
    /// An error occurred that waiting does not resolve.
    Failed(ErrorKind),
}
