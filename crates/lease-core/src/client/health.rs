//! The health of a client, for the probes of an orchestrator.

use std::{fmt, sync::Arc, time::Duration};

use super::shared::Shared;
use crate::{FencingToken, LeaseName, LeaseState, grant::Tenure};

/// How long work may outlive its lease before the client is not live.
const OUTLIVING: Duration = Duration::from_secs(10);

/// The health of a client at one moment, from [`LeaseClient::health`](crate::LeaseClient::health).
///
/// It has what a probe of an orchestrator needs. A *liveness* probe answers whether a restart of the process helps:
/// [`is_live`](Self::is_live). A *readiness* probe answers whether the process can do its work now: [`is_ready`](Self::is_ready).
/// An unreachable store makes a client not ready, and never not live: a restart would not help, and would end leases that the
/// store may still extend.
///
/// `Display` prints one line per [`Trouble`], or `ok`.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # use std::time::Duration;
/// # use lease_core::LeaseClient;
/// # let client = LeaseClient::new(lease_memory::MemoryStore::new());
/// let health = client.health();
/// let live_status = if health.is_live() { 200 } else { 503 };
/// let ready_status = if health.is_ready(Duration::from_secs(10)) { 200 } else { 503 };
/// # assert_eq!((live_status, ready_status, health.to_string().as_str()), (200, 200, "ok"));
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct ClientHealth {
    troubles: Vec<Trouble>,
    /// Since the last call of the store.
    last_call: Option<Duration>,
    observer_panics: u64,
    slow_observer_calls: u64,
}

/// Something that is wrong with a client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// Renewals are due, and the client's runtime does not run them. Not live.
    #[non_exhaustive]
    RenewalsStuck {
        /// For how long they have been due.
        overdue: Duration,
    },
    /// A scope of exclusive work has not ended, although its lease was lost more than 10 seconds ago. Not live.
    #[non_exhaustive]
    WorkOutlivesLease {
        /// The name of the lease.
        name: LeaseName,
        /// The fencing token of the lost grant.
        token: FencingToken,
        /// The time since the loss.
        lost_for: Duration,
    },
    /// A lease is in jeopardy (L9). Not ready.
    #[non_exhaustive]
    Jeopardy {
        /// The name of the lease.
        name: LeaseName,
        /// The fencing token.
        token: FencingToken,
        /// How long it is still valid.
        remaining: Duration,
    },
    /// The store has not answered since a call began. Not ready if this lasts.
    #[non_exhaustive]
    Unanswered {
        /// The time since that call began.
        since: Duration,
    },
    /// The client is closing or closed. Not ready.
    Closing,
}

impl ClientHealth {
    pub(super) fn of(shared: &Shared) -> Self {
        let now = shared.clock.now();
        let mut troubles = Vec::new();
        if let Some(overdue) = shared.renewals.overdue(now) {
            troubles.push(Trouble::RenewalsStuck { overdue });
        }
        for tenure in shared.scoped() {
            let lost_for = tenure.lost_at().map(|lost_at| now.saturating_since(lost_at));
            if let Some(lost_for) = lost_for.filter(|lost_for| *lost_for > OUTLIVING) {
                let (name, token) = (tenure.name().clone(), tenure.token);
                troubles.push(Trouble::WorkOutlivesLease { name, token, lost_for });
            }
        }
        troubles.extend(shared.renewals.tenures().iter().filter_map(jeopardy_of));
        if let Some(since) = shared.contact.unanswered_since() {
            troubles.push(Trouble::Unanswered { since: now.saturating_since(since) });
        }
        if shared.is_closed() {
            troubles.push(Trouble::Closing);
        }
        Self {
            troubles,
            last_call: shared.contact.last_call().map(|last| now.saturating_since(last)),
            observer_panics: shared.events.panics(),
            slow_observer_calls: shared.events.slow_calls(),
        }
    }

    /// Returns whether the client can do its work without a restart of the process: its renewals run in time, and no work has
    /// outlived its lease by more than 10 seconds.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self
            .troubles
            .iter()
            .any(|trouble| matches!(trouble, Trouble::RenewalsStuck { .. } | Trouble::WorkOutlivesLease { .. }))
    }

    /// Returns whether the client can acquire and keep leases: it is not closing, no lease is in jeopardy, and the store has
    /// answered a call within the last `within`. A store that was not called for that long does not make a client not ready.
    #[must_use]
    pub fn is_ready(&self, within: Duration) -> bool {
        let is_recent = self.last_call.is_some_and(|last_call| last_call <= within);
        !self.troubles.iter().any(|trouble| match trouble {
            Trouble::Jeopardy { .. } | Trouble::Closing => true,
            Trouble::Unanswered { since } => is_recent && *since > within,
            Trouble::RenewalsStuck { .. } | Trouble::WorkOutlivesLease { .. } => false,
        })
    }

    /// Returns how many calls of observers have panicked since the client was created.
    #[must_use]
    pub fn observer_panics(&self) -> u64 {
        self.observer_panics
    }

    /// Returns how many calls of observers took longer than 10 ms since the client was created.
    #[must_use]
    pub fn slow_observer_calls(&self) -> u64 {
        self.slow_observer_calls
    }

    /// Returns everything that is wrong.
    #[must_use]
    pub fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }
}

fn jeopardy_of(tenure: &Arc<Tenure>) -> Option<Trouble> {
    match tenure.state() {
        LeaseState::Jeopardy { .. } => {
            Some(Trouble::Jeopardy { name: tenure.name().clone(), token: tenure.token, remaining: tenure.remaining() })
        }
        _ => None,
    }
}

impl fmt::Display for ClientHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.troubles.is_empty() {
            return f.write_str("ok");
        }
        for (index, trouble) in self.troubles.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{trouble}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RenewalsStuck { overdue } => {
                write!(
                    f,
                    "renewals have been due for {overdue:.1?}: the client's runtime is blocked, or no longer driven"
                )
            }
            Self::WorkOutlivesLease { name, token, lost_for } => write!(
                f,
                "the lease {name} with token {token} was lost {lost_for:.1?} ago, and the work under it has not ended: it blocks \
                 its thread"
            ),
            Self::Jeopardy { name, token, remaining } => {
                write!(
                    f,
                    "the lease {name} with token {token} is in jeopardy: it is lost in {remaining:.1?} unless it is renewed"
                )
            }
            Self::Unanswered { since } => write!(f, "the store has not answered for {since:.1?}"),
            Self::Closing => f.write_str("the client is closing"),
        }
    }
}
