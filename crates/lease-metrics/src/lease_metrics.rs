//! The observer that measures.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use lease_core::{
    AttemptOutcome, ElectionChange, FencingToken, LeaseEvent, LeaseName, LossReason, NotAcquired, Observer, Released,
};

use crate::{
    attributes::Attributes,
    groups::{Group, GroupTable, Groups},
    held::{HeldLeases, Key, Validity},
    instrument::Instrument as I,
    sink::Sink,
};

/// A store and the number of a group.
type Place = (Option<&'static str>, usize);

/// An [`Observer`] that measures leases and elections.
///
/// It is cheap to clone. Clones share their instruments and groups: pass clones to several clients, each with the
/// [store](Self::with_store) of its client.
#[derive(Debug, Clone)]
pub struct LeaseMetrics {
    shared: Arc<Shared>,
    groups: Groups,
    store: Option<&'static str>,
}

#[derive(Debug)]
struct Shared {
    sink: Box<dyn Sink>,
    table: GroupTable,
    held: Arc<HeldLeases>,
    /// The token of the last leader of each election that is a group, if this process had one.
    leaders: Mutex<HashMap<Place, Option<FencingToken>>>,
    /// The groups whose validity was set by the last [`LeaseMetrics::refresh`].
    refreshed: Mutex<HashMap<Place, Group>>,
}

impl LeaseMetrics {
    /// Measures by the instruments of this OpenTelemetry meter.
    ///
    /// ```
    /// # use lease_metrics::{Groups, LeaseMetrics};
    /// let meter = opentelemetry::global::meter("lease");
    /// let metrics = LeaseMetrics::otel(&meter).with_groups(Groups::up_to('/'));
    /// ```
    #[cfg(feature = "otel")]
    #[must_use]
    pub fn otel(meter: &opentelemetry::metrics::Meter) -> Self {
        let held = Arc::<HeldLeases>::default();
        Self::new(Box::new(crate::otel::OtelSink::new(meter, &held)), held)
    }

    /// Measures by the recorder of the [`metrics`] crate. Install the recorder before; see [`histogram_boundaries`] for the boundaries
    /// of histograms, and [`LeaseMetrics::refresh`] for gauges.
    ///
    /// [`histogram_boundaries`]: crate::histogram_boundaries
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn facade() -> Self {
        Self::new(Box::new(crate::facade::FacadeSink::new()), Arc::default())
    }

    #[cfg_attr(
        not(any(feature = "otel", feature = "metrics")),
        allow(dead_code, reason = "there is nowhere to measure")
    )]
    fn new(sink: Box<dyn Sink>, held: Arc<HeldLeases>) -> Self {
        let (table, leaders, refreshed) = Default::default();
        let shared = Shared { sink, table, held, leaders, refreshed };
        Self { shared: Arc::new(shared), groups: Groups::none(), store: None }
    }

    /// Sets how leases are grouped. The default is [`Groups::none`].
    #[must_use]
    pub fn with_groups(self, groups: Groups) -> Self {
        Self { groups, ..self }
    }

    /// Sets the attribute `lease.store`, such as `"postgres"`: the name that the store's
    /// [capabilities](lease_core::Capabilities::store) have. Without it, there is no such attribute.
    #[must_use]
    pub fn with_store(self, store: &'static str) -> Self {
        Self { store: Some(store), ..self }
    }

    /// Computes the gauges of remaining validity, which change without any event. Call it before the metrics are read, if they go
    /// to the `metrics` crate, whose gauges are only set. An OpenTelemetry meter computes them by itself.
    ///
    /// A group without leases has no validity: its gauges are then not a number, with which no alert compares.
    pub fn refresh(&self) {
        let mut refreshed = lock(&self.shared.refreshed);
        let mut before = std::mem::take(&mut *refreshed);
        for Validity { store, group, remaining, share } in self.shared.held.validities() {
            before.remove(&(store, group.number));
            self.set_validity(store, &group, remaining.as_secs_f64(), share);
            refreshed.insert((store, group.number), group);
        }
        for ((store, _), group) in before {
            self.set_validity(store, &group, f64::NAN, f64::NAN);
        }
    }

    fn set_validity(&self, store: Option<&'static str>, group: &Group, seconds: f64, share: f64) {
        let attributes = Attributes::new(store, group);
        self.shared.sink.set(I::ValidityMin, seconds, attributes);
        self.shared.sink.set(I::ValidityShareMin, share, attributes);
    }

    /// Returns until when a leader leads, for its gauge. Without groups, the leaders of all elections would share it.
    fn set_leads_for(&self, group: &Group, valid_for: Duration) {
        if group.is_election {
            #[allow(
                clippy::disallowed_methods,
                reason = "a time for people and their alerts, which no lease depends on"
            )]
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let valid_until = if valid_for.is_zero() { Duration::ZERO } else { now + valid_for };
            self.shared.sink.set(I::ElectionValidUntil, valid_until.as_secs_f64(), Attributes::new(self.store, group));
        }
    }

    /// Measures that a candidate does not lead, if it has never led: otherwise nobody could see that there is no leader.
    fn campaigns(&self, group: &Group) {
        if let Entry::Vacant(place) = lock(&self.shared.leaders).entry((self.store, group.number)) {
            place.insert(None);
            self.shared.sink.add(I::Leads, 0, Attributes::new(self.store, group));
            self.set_leads_for(group, Duration::ZERO);
        }
    }

    fn election(&self, name: &LeaseName, token: FencingToken, change: &ElectionChange, group: &Group) {
        let (sink, attributes) = (&*self.shared.sink, Attributes::new(self.store, group));
        let place = (self.store, group.number);
        match change {
            ElectionChange::Leads => {
                sink.add(I::Leads, 1, attributes);
                lock(&self.shared.leaders).insert(place, Some(token));
                if let Some(valid_for) = self.shared.held.leads(&(self.store, name.clone(), token)) {
                    self.set_leads_for(group, valid_for);
                }
            }
            ElectionChange::Ended { reason, led_for } => {
                let attributes = attributes.reason(reason.as_str());
                sink.add(I::Leads, -1, Attributes::new(self.store, group));
                sink.add(I::Terms, 1, attributes);
                sink.record(I::TermDuration, led_for.as_secs_f64(), attributes);
                // Another candidate of this process may lead already.
                if lock(&self.shared.leaders).get(&place) == Some(&Some(token)) {
                    self.set_leads_for(group, Duration::ZERO);
                }
            }
            _ => {}
        }
    }
}

impl Observer for LeaseMetrics {
    fn observe(&self, event: &LeaseEvent) {
        use LeaseEvent as E;
        let Some(name) = name_of(event) else { return };
        let group = &self.shared.table.group_of(self.groups, name);
        let (sink, held) = (&*self.shared.sink, &*self.shared.held);
        let attributes = Attributes::new(self.store, group);
        let key = |token: &FencingToken| (self.store, name.clone(), *token);
        match event {
            E::Attempted { outcome, took, .. } => {
                let (outcome, error) = match outcome {
                    AttemptOutcome::Granted => ("granted", None),
                    AttemptOutcome::Held => ("held", None),
                    AttemptOutcome::Failed(kind) => ("failed", Some(kind.as_str())),
                    _ => ("other", None),
                };
                sink.add(I::Attempts, 1, attributes.outcome(outcome).error(error));
                sink.record(I::AttemptDuration, took.as_secs_f64(), attributes.outcome(outcome));
            }
            E::Granted { token, ttl, valid_for, waited, attempts, .. } => {
                held.granted(key(token), group, *ttl, *valid_for);
                sink.add(I::Held, 1, attributes);
                sink.record(I::AcquireDuration, waited.as_secs_f64(), attributes.outcome("acquired"));
                sink.record(I::AcquireAttempts, f64::from(*attempts), attributes);
            }
            E::NotAcquired { reason, waited, attempts, .. } => {
                let outcome = match reason {
                    NotAcquired::Held => "not_acquired",
                    NotAcquired::LimitPassed => "wait_limit",
                    NotAcquired::Closed => "closed",
                    NotAcquired::Dropped => "dropped",
                    NotAcquired::Failed(_) => "failed",
                    _ => "other",
                };
                sink.record(I::AcquireDuration, waited.as_secs_f64(), attributes.outcome(outcome));
                sink.record(I::AcquireAttempts, f64::from(*attempts), attributes);
            }
            E::Renewed { token, valid_for, took, .. } => {
                self.renewal("extended", None, *took, attributes);
                if held.renewed(&key(token), *valid_for) {
                    self.set_leads_for(group, *valid_for);
                }
            }
            E::RenewalRefused { took, .. } => self.renewal("lost", None, *took, attributes),
            // An overdue renewal has not ended.
            E::RenewalFailed { error, took, is_overdue: false, .. } => {
                self.renewal("failed", Some(error.kind().as_str()), *took, attributes);
            }
            E::Jeopardy { token, .. } => self.in_jeopardy(&key(token), true, attributes),
            E::Recovered { token, .. } => self.in_jeopardy(&key(token), false, attributes),
            E::Lost { token, reason, held_for, .. } => {
                if let Some(was_in_jeopardy) = held.lost(&key(token)) {
                    sink.add(I::Held, -1, attributes);
                    if was_in_jeopardy {
                        sink.add(I::InJeopardy, -1, attributes);
                    }
                }
                let of_reason = attributes.reason(reason.as_str());
                sink.record(I::HeldDuration, held_for.as_secs_f64(), of_reason);
                if *reason != LossReason::Released {
                    sink.add(I::Losses, 1, of_reason);
                }
            }
            E::Released { outcome, .. } => {
                let outcome = match outcome {
                    Ok(Released::Freed) => "freed",
                    Ok(Released::NotHeld) => "not_held",
                    Ok(_) => "other",
                    Err(_) => "failed",
                };
                sink.add(I::Releases, 1, attributes.outcome(outcome));
            }
            E::WaitStarted { .. } => {
                sink.add(I::Waiters, 1, attributes);
                if group.is_election {
                    self.campaigns(group);
                }
            }
            E::WaitEnded { .. } => sink.add(I::Waiters, -1, attributes),
            E::Election { token, change, .. } => self.election(name, *token, change, group),
            _ => {}
        }
    }
}

impl LeaseMetrics {
    fn in_jeopardy(&self, key: &Key, is_in_jeopardy: bool, attributes: Attributes<'_>) {
        if self.shared.held.in_jeopardy(key, is_in_jeopardy) {
            self.shared.sink.add(I::InJeopardy, if is_in_jeopardy { 1 } else { -1 }, attributes);
        }
    }

    fn renewal(&self, outcome: &'static str, error: Option<&'static str>, took: Duration, attributes: Attributes<'_>) {
        let attributes = attributes.outcome(outcome);
        self.shared.sink.add(I::Renewals, 1, attributes.error(error));
        self.shared.sink.record(I::RenewalDuration, took.as_secs_f64(), attributes);
    }
}

fn name_of(event: &LeaseEvent) -> Option<&LeaseName> {
    use LeaseEvent as E;
    match event {
        E::Attempted { name, .. }
        | E::Granted { name, .. }
        | E::NotAcquired { name, .. }
        | E::Renewed { name, .. }
        | E::RenewalRefused { name, .. }
        | E::RenewalFailed { name, .. }
        | E::Jeopardy { name, .. }
        | E::Recovered { name, .. }
        | E::Lost { name, .. }
        | E::Released { name, .. }
        | E::WaitStarted { name, .. }
        | E::WaitEnded { name, .. }
        | E::Election { name, .. } => Some(name),
        _ => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
