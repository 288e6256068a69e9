//! What happens to leases, for metrics, traces and tests.

use std::{fmt::Debug, sync::Arc, time::Duration};

use tracing::level_filters::LevelFilter;

use crate::{Error, ErrorKind, FencingToken, HolderId, LeaseName, LossReason, Released, Result};

/// Sees everything that happens to the leases of a client. Called where it happens: must be quick and must not block.
///
/// All events also go to `tracing`, under the target `lease`.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use lease_core::{LeaseEvent, Observer};
///
/// #[derive(Debug, Default)]
/// struct Losses(AtomicU64);
///
/// impl Observer for Losses {
///     fn observe(&self, event: &LeaseEvent) {
///         if let LeaseEvent::Lost { .. } = event {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
/// ```
pub trait Observer: Debug + Send + Sync + 'static {
    /// Something has happened.
    fn observe(&self, event: &LeaseEvent);
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn observe(&self, event: &LeaseEvent) {
        (**self).observe(event);
    }
}

/// Something that happened to a lease.
///
/// More fields and more events may come: match with `..`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LeaseEvent {
    /// The store was asked for a lease.
    #[non_exhaustive]
    Attempted {
        /// The lease.
        name: LeaseName,
        /// Who wants it.
        holder: HolderId,
        /// What came of it.
        outcome: AttemptOutcome,
        /// From the request to its answer, or until it was given up.
        took: Duration,
    },
    /// A lease is held now.
    #[non_exhaustive]
    Granted {
        /// The lease.
        name: LeaseName,
        /// Who holds it.
        holder: HolderId,
        /// Its token.
        token: FencingToken,
        /// How long it can be relied on.
        valid_for: Duration,
        /// From the call that asked for it.
        waited: Duration,
        /// How often the store was asked, this time included.
        attempts: u32,
    },
    /// A lease was extended.
    #[non_exhaustive]
    Renewed {
        /// The lease.
        name: LeaseName,
        /// Who holds it.
        holder: HolderId,
        /// Its token.
        token: FencingToken,
        /// How long it can be relied on.
        valid_for: Duration,
        /// From the request to its answer.
        took: Duration,
    },
    /// A renewal failed, or its outcome is unknown. It is tried again.
    #[non_exhaustive]
    RenewalFailed {
        /// The lease.
        name: LeaseName,
        /// Who holds it.
        holder: HolderId,
        /// Its token.
        token: FencingToken,
        /// What happened.
        error: Error,
    },
    /// A renewal failed, is unknown or overdue: the lease will be lost unless one succeeds (L9).
    #[non_exhaustive]
    Jeopardy {
        /// The lease.
        name: LeaseName,
        /// Who holds it.
        holder: HolderId,
        /// Its token.
        token: FencingToken,
        /// How long it can still be relied on.
        remaining: Duration,
        /// What happened to the renewal.
        error: Error,
    },
    /// A lease is out of jeopardy (L9).
    #[non_exhaustive]
    Recovered {
        /// The lease.
        name: LeaseName,
        /// Who holds it.
        holder: HolderId,
        /// Its token.
        token: FencingToken,
    },
    /// A lease is no longer held. Once per grant (L6).
    #[non_exhaustive]
    Lost {
        /// The lease.
        name: LeaseName,
        /// Who held it.
        holder: HolderId,
        /// Its token.
        token: FencingToken,
        /// Why.
        reason: LossReason,
        /// From the request that brought it.
        held_for: Duration,
    },
    /// The store was asked to end a grant.
    #[non_exhaustive]
    Released {
        /// The lease.
        name: LeaseName,
        /// Who held it.
        holder: HolderId,
        /// Its token; nothing for a grant that was asked for and never seen.
        token: Option<FencingToken>,
        /// What came of it.
        outcome: Result<Released>,
        /// From the request to its answer, or until it was given up.
        took: Duration,
    },
    /// A task began to wait for a name that is held.
    #[non_exhaustive]
    WaitStarted {
        /// The lease.
        name: LeaseName,
        /// Who waits.
        holder: HolderId,
    },
    /// A task waits no longer.
    #[non_exhaustive]
    WaitEnded {
        /// The lease.
        name: LeaseName,
        /// Who waited.
        holder: HolderId,
        /// How long.
        waited: Duration,
        /// What came of it.
        outcome: WaitOutcome,
    },
}

/// What came of an attempt to get a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttemptOutcome {
    /// It was granted.
    Granted,
    /// Somebody else has it.
    Held,
    /// It failed, or its outcome is unknown.
    Failed(ErrorKind),
}

/// What came of waiting for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitOutcome {
    /// The task has the lease.
    Won,
    /// The [wait limit](crate::LeaseOptions::wait_limit) passed.
    LimitPassed,
    /// The client closed.
    Closed,
    /// The future was dropped.
    Dropped,
    /// An error that waiting cannot mend.
    Failed(ErrorKind),
}

/// Hands every event to `tracing` and to the application's observers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Events {
    observers: Arc<[Arc<dyn Observer>]>,
}

impl Events {
    pub(crate) fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        Self { observers: observers.into() }
    }

    /// Where nobody listens, the event is not even made.
    pub(crate) fn emit(&self, event: impl FnOnce() -> LeaseEvent) {
        if self.observers.is_empty() && LevelFilter::current() == LevelFilter::OFF {
            return;
        }
        let event = event();
        trace(&event);
        for observer in &*self.observers {
            // A defect in an observer must not take leases with it.
            let observed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| observer.observe(&event)));
            if observed.is_err() {
                tracing::error!(target: "lease", ?event, "an observer panicked");
            }
        }
    }
}

fn trace(event: &LeaseEvent) {
    use LeaseEvent as E;
    use tracing::{debug, info, trace, warn};
    match event {
        E::Attempted { name, holder, outcome, took } => {
            trace!(target: "lease", { lease.name = %name, lease.holder = %holder, ?outcome, ?took }, "attempted")
        }
        E::Granted { name, holder, token, valid_for, waited, attempts } => {
            info!(target: "lease", { lease.name = %name, lease.holder = %holder, lease.token = token.get(), ?valid_for, ?waited, attempts }, "granted")
        }
        E::Renewed { name, holder, token, valid_for, took } => {
            debug!(target: "lease", { lease.name = %name, lease.holder = %holder, lease.token = token.get(), ?valid_for, ?took }, "renewed")
        }
        E::RenewalFailed { name, holder, token, error } => {
            // The first one in a row is told by the jeopardy that it brings.
            debug!(target: "lease", { lease.name = %name, lease.holder = %holder, lease.token = token.get(), %error }, "renewal failed")
        }
        E::Jeopardy { name, holder, token, remaining, error } => {
            warn!(target: "lease", { lease.name = %name, lease.holder = %holder, lease.token = token.get(), ?remaining, %error }, "in jeopardy")
        }
        E::Recovered { name, holder, token } => {
            info!(target: "lease", { lease.name = %name, lease.holder = %holder, lease.token = token.get() }, "out of jeopardy")
        }
        E::Lost { name, holder, token, reason: LossReason::Released, held_for } => {
            debug!(target: "lease", { lease.name = %name, lease.holder = %holder, lease.token = token.get(), ?held_for }, "ended by its holder")
        }
        E::Lost { name, holder, token, reason, held_for } => {
            warn!(target: "lease", { lease.name = %name, lease.holder = %holder, lease.token = token.get(), %reason, ?held_for }, "lost")
        }
        E::Released { name, holder, token, outcome: Ok(outcome), took } => {
            info!(target: "lease", { lease.name = %name, lease.holder = %holder, lease.token = token.map(FencingToken::get), ?outcome, ?took }, "released")
        }
        E::Released { name, holder, token, outcome: Err(error), took } => {
            warn!(target: "lease", { lease.name = %name, lease.holder = %holder, lease.token = token.map(FencingToken::get), %error, ?took }, "release failed")
        }
        E::WaitStarted { name, holder } => {
            debug!(target: "lease", { lease.name = %name, lease.holder = %holder }, "waiting")
        }
        E::WaitEnded { name, holder, waited, outcome } => {
            debug!(target: "lease", { lease.name = %name, lease.holder = %holder, ?waited, ?outcome }, "waited")
        }
    }
}
