//! What happens to leases, for metrics, traces and tests.

use std::{fmt::Debug, sync::Arc, time::Duration};

use crate::{Error, FencingToken, LeaseName, LossReason, Released, Result};

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
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LeaseEvent {
    /// The store was asked for a lease.
    Attempted {
        /// The lease.
        name: LeaseName,
        /// What came of it.
        outcome: AttemptOutcome,
        /// From the request to its answer, or until it was given up.
        took: Duration,
    },
    /// A lease is held now.
    Granted {
        /// The lease.
        name: LeaseName,
        /// Its token.
        token: FencingToken,
        /// How long it can be relied on.
        valid_for: Duration,
    },
    /// A lease was extended.
    Renewed {
        /// The lease.
        name: LeaseName,
        /// Its token.
        token: FencingToken,
        /// How long it can be relied on.
        valid_for: Duration,
        /// From the request to its answer.
        took: Duration,
    },
    /// A renewal failed, or its outcome is unknown. It is tried again.
    RenewalFailed {
        /// The lease.
        name: LeaseName,
        /// Its token.
        token: FencingToken,
        /// What happened.
        error: Error,
    },
    /// A renewal failed, is unknown or overdue: the lease will be lost unless one succeeds (L9).
    Jeopardy {
        /// The lease.
        name: LeaseName,
        /// Its token.
        token: FencingToken,
        /// How long it can still be relied on.
        remaining: Duration,
    },
    /// A lease is out of jeopardy (L9).
    Recovered {
        /// The lease.
        name: LeaseName,
        /// Its token.
        token: FencingToken,
    },
    /// A lease is no longer held. Once per grant (L6).
    Lost {
        /// The lease.
        name: LeaseName,
        /// Its token.
        token: FencingToken,
        /// Why.
        reason: LossReason,
    },
    /// The store was asked to end a grant.
    Released {
        /// The lease.
        name: LeaseName,
        /// What came of it.
        outcome: Result<Released>,
    },
    /// A task began to wait for a name that is held.
    WaitStarted {
        /// The lease.
        name: LeaseName,
    },
    /// A task waits no longer.
    WaitEnded {
        /// The lease.
        name: LeaseName,
        /// How long it waited.
        waited: Duration,
        /// Whether it has the lease now.
        won: bool,
    },
}

/// What came of an attempt to get a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// It was granted.
    Granted,
    /// Somebody else has it.
    Held,
    /// It failed, or nobody knows.
    Failed,
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

    pub(crate) fn emit(&self, event: LeaseEvent) {
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
        E::Attempted { name, outcome, took } => trace!(target: "lease", %name, ?outcome, ?took, "attempted"),
        E::Granted { name, token, valid_for } => info!(target: "lease", %name, %token, ?valid_for, "granted"),
        E::Renewed { name, token, valid_for, took } => {
            debug!(target: "lease", %name, %token, ?valid_for, ?took, "renewed")
        }
        E::RenewalFailed { name, token, error } => warn!(target: "lease", %name, %token, %error, "renewal failed"),
        E::Jeopardy { name, token, remaining } => warn!(target: "lease", %name, %token, ?remaining, "in jeopardy"),
        E::Recovered { name, token } => info!(target: "lease", %name, %token, "out of jeopardy"),
        E::Lost { name, token, reason: LossReason::Released } => {
            debug!(target: "lease", %name, %token, "ended by its holder")
        }
        E::Lost { name, token, reason } => warn!(target: "lease", %name, %token, %reason, "lost"),
        E::Released { name, outcome: Ok(outcome) } => info!(target: "lease", %name, ?outcome, "released"),
        E::Released { name, outcome: Err(error) } => warn!(target: "lease", %name, %error, "release failed"),
        E::WaitStarted { name } => debug!(target: "lease", %name, "waiting"),
        E::WaitEnded { name, waited, won } => debug!(target: "lease", %name, ?waited, won, "waited"),
    }
}
