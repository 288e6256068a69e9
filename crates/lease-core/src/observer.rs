//! Events of leases, for metrics, traces and tests.

use std::{fmt::Debug, sync::Arc, time::Duration};

use tracing::level_filters::LevelFilter;

use crate::{Error, ErrorKind, FencingToken, HolderId, LeaseName, LossReason, Released, Result};

/// Receives the events of a client's leases.
///
/// It is called in the task in which the event happens, so it must be quick and must not block. A panic is caught and logged.
/// All events are also sent to `tracing`, with the target `lease`.
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
    /// Receives an event.
    fn observe(&self, event: &LeaseEvent);
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn observe(&self, event: &LeaseEvent) {
        (**self).observe(event);
    }
}

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
        /// How long it is valid without a renewal.
        valid_for: Duration,
        /// The time since the caller requested it.
        waited: Duration,
        /// The number of attempts, this one included.
        attempts: u32,
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
    },
    /// A renewal failed, or its outcome is unknown. It is repeated.
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
    },
    /// A caller began to wait for a name that is held.
    #[non_exhaustive]
    WaitStarted {
        /// The name of the lease.
        name: LeaseName,
        /// The holder for which it waits.
        holder: HolderId,
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

/// Passes every event to `tracing` and to the application's observers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Events {
    observers: Arc<[Arc<dyn Observer>]>,
}

impl Events {
    pub(crate) fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        Self { observers: observers.into() }
    }

    /// Reports an event. Without any observer, the event is not even created.
    pub(crate) fn emit(&self, event: impl FnOnce() -> LeaseEvent) {
        if self.observers.is_empty() && LevelFilter::current() == LevelFilter::OFF {
            return;
        }
        let event = event();
        trace(&event);
        for observer in &*self.observers {
            // A panic in an observer must not end the renewal task.
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
            // The first failure in a row is logged as the jeopardy that it causes.
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
