//! The instruments: their names, kinds, units and boundaries.

/// Boundaries of the durations of store calls, in seconds.
const CALLS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Boundaries of waits and tenures, in seconds.
const WAITS: &[f64] = &[0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0];
/// Boundaries of numbers of attempts.
const ATTEMPTS: &[f64] = &[1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1_000.0];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Instrument {
    Attempts,
    AttemptDuration,
    AcquireDuration,
    AcquireAttempts,
    Waiters,
    Held,
    InJeopardy,
    HeldDuration,
    ValidityMin,
    ValidityShareMin,
    Renewals,
    RenewalDuration,
    Losses,
    Releases,
    Leads,
    ElectionValidUntil,
    Terms,
    TermDuration,
}

#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) instrument: Instrument,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) unit: Unit,
    pub(crate) description: &'static str,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Counter,
    UpDownCounter,
    /// With its boundaries.
    Histogram(&'static [f64]),
    /// Set by events.
    Gauge,
    /// Computed when it is read.
    Observed,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Seconds,
    /// A number of these, in the braces of OpenTelemetry's conventions.
    Of(&'static str),
    /// A share, from 0 to 1.
    Share,
}

/// All instruments, in the order of [`Instrument`].
#[rustfmt::skip]
pub(crate) const TABLE: [Definition; 18] = {
    use Instrument as I;
    use Kind::{Counter, Gauge, Histogram, Observed, UpDownCounter};
    use Unit::{Of, Seconds, Share};
    [
        define(I::Attempts, "lease.attempts", Counter, Of("{attempt}"), "Attempts to acquire a lease: calls of the store"),
        define(I::AttemptDuration, "lease.attempt.duration", Histogram(CALLS), Seconds, "Duration of an attempt"),
        define(I::AcquireDuration, "lease.acquire.duration", Histogram(WAITS), Seconds, "Time from the call of an application to its end, waiting included"),
        define(I::AcquireAttempts, "lease.acquire.attempts", Histogram(ATTEMPTS), Of("{attempt}"), "Attempts per call of an application"),
        define(I::Waiters, "lease.waiters", UpDownCounter, Of("{waiter}"), "Callers that wait for a lease"),
        define(I::Held, "lease.held", UpDownCounter, Of("{lease}"), "Leases held"),
        define(I::InJeopardy, "lease.in_jeopardy", UpDownCounter, Of("{lease}"), "Leases held whose renewal failed or is overdue"),
        define(I::HeldDuration, "lease.held.duration", Histogram(WAITS), Seconds, "Time from a grant to its loss or release"),
        define(I::ValidityMin, "lease.validity.min", Observed, Seconds, "Least remaining validity of all leases held"),
        define(I::ValidityShareMin, "lease.validity.share.min", Observed, Share, "Least share of its ttl that remains to any lease held"),
        define(I::Renewals, "lease.renewals", Counter, Of("{renewal}"), "Renewals that have ended"),
        define(I::RenewalDuration, "lease.renewal.duration", Histogram(CALLS), Seconds, "Duration of a renewal"),
        define(I::Losses, "lease.losses", Counter, Of("{lease}"), "Leases lost, without releases"),
        define(I::Releases, "lease.releases", Counter, Of("{release}"), "Releases that were answered or given up"),
        define(I::Leads, "lease.election.leads", UpDownCounter, Of("{leader}"), "Candidates of this process that lead"),
        define(I::ElectionValidUntil, "lease.election.valid_until", Gauge, Seconds, "Unix time until which the leader of this process leads without a renewal; 0 if it does not lead"),
        define(I::Terms, "lease.election.terms", Counter, Of("{term}"), "Terms of leadership that have ended"),
        define(I::TermDuration, "lease.election.term.duration", Histogram(WAITS), Seconds, "Duration of a term of leadership"),
    ]
};

const fn define(
    instrument: Instrument,
    name: &'static str,
    kind: Kind,
    unit: Unit,
    description: &'static str,
) -> Definition {
    Definition { instrument, name, kind, unit, description }
}

/// Returns the names of the histograms with their boundaries, for exporters of the `metrics` facade, which has no boundaries of its
/// own.
///
/// ```
/// use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
///
/// let mut exporter = PrometheusBuilder::new().with_recommended_naming(true);
/// for (name, boundaries) in lease_metrics::histogram_boundaries() {
///     exporter = exporter.set_buckets_for_metric(Matcher::Full(name.to_owned()), boundaries).unwrap();
/// }
/// # let _ = exporter.build_recorder();
/// ```
pub fn histogram_boundaries() -> impl Iterator<Item = (&'static str, &'static [f64])> {
    TABLE.iter().filter_map(|definition| match definition.kind {
        Kind::Histogram(boundaries) => Some((definition.name, boundaries)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_instruments() {
        for (index, definition) in TABLE.iter().enumerate() {
            assert_eq!(definition.instrument as usize, index, "{}", definition.name);
        }
    }

    #[test]
    fn boundaries_rise() {
        for (name, boundaries) in histogram_boundaries() {
            assert!(boundaries.is_sorted_by(|one, other| one < other), "{name}");
        }
    }
}
