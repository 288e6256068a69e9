//! Observers of events, for metrics, traces and tests.

use std::{
    fmt::Debug,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tracing::level_filters::LevelFilter;

use crate::{Clock, Correlation, ElectionChange, FencingToken, LeaseEvent, LossReason, Moment};

/// A call of an observer that takes longer than this is slow.
const SLOW: Duration = Duration::from_millis(10);
/// The shortest time between two warnings about observers.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// Receives the events of a client's leases.
///
/// It is called in the task in which the event happens, so it must be quick and must not block. A panic is
/// caught. Panics and calls of more than 10 ms are counted, see [`ClientHealth`](crate::ClientHealth), and logged: slow calls at most once a
/// minute.
/// All events are also sent to `tracing`, with the target `lease`, and within the span of their lease: `lease.hold`, from the grant to
/// the loss.
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

/// Passes every event to `tracing` and to the application's observers.
#[derive(Debug, Clone)]
pub(crate) struct Events(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    observers: Vec<Arc<dyn Observer>>,
    clock: Arc<dyn Clock>,
    panics: AtomicU64,
    slow_calls: AtomicU64,
    /// The time of the last warning, in nanoseconds; 0 before the first one.
    warned_at: AtomicU64,
}

impl Events {
    pub(crate) fn new(observers: Vec<Arc<dyn Observer>>, clock: Arc<dyn Clock>) -> Self {
        let (panics, slow_calls, warned_at) = Default::default();
        Self(Arc::new(Inner { observers, clock, panics, slow_calls, warned_at }))
    }

    /// Reports an event. Without any observer, the event is not even created.
    pub(crate) fn emit(&self, event: impl FnOnce() -> LeaseEvent) {
        if self.0.observers.is_empty() && LevelFilter::current() == LevelFilter::OFF {
            return;
        }
        let event = event();
        trace(&event);
        for observer in &self.0.observers {
            self.0.call(&**observer, &event);
        }
    }

    /// Returns how many calls of observers have panicked.
    pub(crate) fn panics(&self) -> u64 {
        self.0.panics.load(Ordering::Relaxed)
    }

    /// Returns how many calls of observers were slow.
    pub(crate) fn slow_calls(&self) -> u64 {
        self.0.slow_calls.load(Ordering::Relaxed)
    }
}

impl Inner {
    fn call(&self, observer: &dyn Observer, event: &LeaseEvent) {
        let began = self.clock.now();
        // A panic in an observer must not end the renewal task.
        if catch_unwind(AssertUnwindSafe(|| observer.observe(event))).is_err() {
            let panics = self.panics.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::error!(target: "lease", ?event, panics, "an observer panicked: correct it, its events are incomplete");
            return;
        }
        let now = self.clock.now();
        let took = now.saturating_since(began);
        if took > SLOW {
            let slow_calls = self.slow_calls.fetch_add(1, Ordering::Relaxed) + 1;
            if self.may_warn(now) {
                tracing::warn!(target: "lease", ?took, slow_calls, "an observer is slow: it delays renewals and callers");
            }
        }
    }

    fn may_warn(&self, now: Moment) -> bool {
        let now = now.as_nanos().max(1);
        let last = self.warned_at.load(Ordering::Relaxed);
        let is_due = last == 0 || u128::from(now.saturating_sub(last)) >= BETWEEN_WARNINGS.as_nanos();
        is_due && self.warned_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

fn trace(event: &LeaseEvent) {
    use LeaseEvent as E;
    use tracing::{debug, info, trace, warn};
    match event {
        E::Attempted { name, holder, outcome, took, correlation } => {
            trace!(target: "lease", { lease.name = %name, lease.holder = %holder, correlation.id = id(correlation), ?outcome, ?took }, "attempted")
        }
        E::Granted { name, holder, token, ttl, valid_for, waited, attempts, correlation } => {
            info!(target: "lease", { lease.name = %name, lease.holder = %holder, correlation.id = id(correlation), lease.token = token.get(), ?ttl, ?valid_for, ?waited, attempts }, "granted")
        }
        E::NotAcquired { name, holder, reason, waited, attempts, correlation } => {
            debug!(target: "lease", { lease.name = %name, lease.holder = %holder, correlation.id = id(correlation), ?reason, ?waited, attempts }, "not acquired")
        }
        E::Renewed { name, holder, token, valid_for, took, correlation } => {
            debug!(target: "lease", { lease.name = %name, lease.holder = %holder, correlation.id = id(correlation), lease.token = token.get(), ?valid_for, ?took }, "renewed")
        }
        E::RenewalRefused { name, holder, token, reason, took, correlation } => {
            debug!(target: "lease", { lease.name = %name, lease.holder = %holder, correlation.id = id(correlation), lease.token = token.get(), %reason, ?took }, "renewal refused")
        }
        E::RenewalFailed { name, holder, token, error, took, is_overdue, correlation } => {
            // The first failure in a row is logged as the jeopardy that it causes.
            debug!(target: "lease", { lease.name = %name, lease.holder = %holder, correlation.id = id(correlation), lease.token = token.get(), %error, ?took, is_overdue }, "renewal failed")
        }
        E::Jeopardy { name, holder, token, remaining, error, correlation } => {
            warn!(target: "lease", { lease.name = %name, lease.holder = %holder, correlation.id = id(correlation), lease.token = token.get(), ?remaining, %error }, "in jeopardy")
        }
        E::Recovered { name, holder, token, correlation } => {
            info!(target: "lease", { lease.name = %name, lease.holder = %holder, correlation.id = id(correlation), lease.token = token.get() }, "out of jeopardy")
        }
        E::Lost { name, holder, token, reason: LossReason::Released, held_for, correlation } => {
            debug!(target: "lease", { lease.name = %name, lease.holder = %holder, correlation.id = id(correlation), lease.token = token.get(), ?held_for }, "ended by its holder")
        }
        E::Lost { name, holder, token, reason, held_for, correlation } => {
            warn!(target: "lease", { lease.name = %name, lease.holder = %holder, correlation.id = id(correlation), lease.token = token.get(), %reason, ?held_for }, "lost")
        }
        E::Released { name, holder, token, outcome: Ok(outcome), took, correlation } => {
            info!(target: "lease", { lease.name = %name, lease.holder = %holder, correlation.id = id(correlation), lease.token = token.map(FencingToken::get), ?outcome, ?took }, "released")
        }
        E::Released { name, holder, token, outcome: Err(error), took, correlation } => {
            warn!(target: "lease", { lease.name = %name, lease.holder = %holder, correlation.id = id(correlation), lease.token = token.map(FencingToken::get), %error, ?took }, "release failed")
        }
        E::WaitStarted { name, holder, correlation } => {
            debug!(target: "lease", { lease.name = %name, lease.holder = %holder, correlation.id = id(correlation) }, "waiting")
        }
        E::WaitEnded { name, holder, waited, outcome, correlation } => {
            debug!(target: "lease", { lease.name = %name, lease.holder = %holder, correlation.id = id(correlation), ?waited, ?outcome }, "waited")
        }
        E::Election { name, holder, token, change } => {
            let change: &dyn Debug = match change {
                ElectionChange::Leads => &"leads",
                ElectionChange::Draining => &"draining",
                ElectionChange::Ended { reason, .. } => reason,
            };
            info!(target: "lease", { lease.name = %name, lease.holder = %holder, lease.token = token.get(), ?change }, "election")
        }
    }
}

fn id(correlation: &Option<Correlation>) -> Option<&str> {
    correlation.as_ref().map(Correlation::as_str)
}
