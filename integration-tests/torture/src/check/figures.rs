//! The measurements of a case.

use std::collections::BTreeMap;

use lease_testkit::Violation as Unsound;
use serde::{Deserialize, Serialize};

use super::{
    baseline, exclusion,
    grants::{Ending, Grant},
    losses,
    recording::{Recording, nanoseconds},
    recovery,
};
use crate::record::Event;

/// The figures of a case. Times are in nanoseconds, and `None` if the event did not happen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The number of grants.
    pub grants: u64,
    /// The longest overlap of two tenures of one name.
    pub largest_overlap: u64,
    /// The shortest time from the end of a tenure by loss or crash to the next grant of the name.
    pub smallest_margin: Option<i64>,
    /// The number of tokens that were not greater than an earlier one.
    pub token_regressions: u64,
    /// The number of writes that the resource accepted.
    pub writes_accepted: u64,
    /// The number of stale writes that the resource refused.
    pub writes_refused: u64,
    /// The time from the deadline, or from when the worker could run again, to the signal of a loss.
    pub signal_lateness: Option<Quantiles>,
    /// The time by which the next grant of a lease of a crashed, frozen or cut-off worker came later than a ttl after the last
    /// answer of the store to that worker. Negative by the time of the answer's way, or if the worker detected its loss and
    /// could still release the lease.
    pub take_over_after_ttl: Option<Quantiles>,
    /// The time from the call of a release to the grant to a waiter.
    pub hand_over: Option<Quantiles>,
    /// The time from healing to the next grant of each name.
    pub acquired_after_healing: Option<Quantiles>,
    /// Requests to the store for each second in which a lease was held.
    pub requests_per_lease_second: Option<f64>,
    /// The sums of the counts before and after: `descriptors`, `tasks`, …
    pub counts: BTreeMap<String, (u64, u64)>,
}

/// Some quantiles of a sample, each of them one of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// The number of values.
    pub count: usize,
    /// The median.
    pub p50: i64,
    /// The value that 99 of 100 values do not exceed.
    pub p99: i64,
    /// The largest.
    pub max: i64,
}

impl Quantiles {
    /// Returns the quantiles of these values by nearest rank, or `None` without values. They are exact, also for negative values,
    /// unlike those of a histogram.
    pub fn of(values: impl IntoIterator<Item = i64>) -> Option<Self> {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_unstable();
        let percentile = |percent: usize| values[(values.len() * percent).div_ceil(100).saturating_sub(1)];
        let &max = values.last()?;
        Some(Self { count: values.len(), p50: percentile(50), p99: percentile(99), max })
    }
}

impl Figures {
    /// Returns the figures of a recording.
    #[must_use]
    pub fn of(recording: &Recording) -> Self {
        let unsound = exclusion::unsound(recording);
        let overlaps = unsound.iter().filter_map(|each| match each {
            Unsound::Overlap { by, .. } => u64::try_from(by.as_nanos()).ok(),
            _ => None,
        });
        let count =
            |what: fn(&Event) -> bool| recording.entries.iter().filter(|entry| what(&entry.event)).count() as u64;
        let healed = recovery::healed(recording);
        let times_to_acquire = healed.map(|healed| recovery::times_to_acquire(recording, healed)).unwrap_or_default();
        Self {
            grants: recording.grants.len() as u64,
            largest_overlap: overlaps.max().unwrap_or(0),
            smallest_margin: margins(recording).min(),
            token_regressions: unsound.iter().filter(|each| !matches!(each, Unsound::Overlap { .. })).count() as u64,
            writes_accepted: count(|event| matches!(event, Event::Accepted { .. })),
            writes_refused: count(|event| matches!(event, Event::Refused { .. })),
            signal_lateness: Quantiles::of(signal_lateness(recording)),
            take_over_after_ttl: Quantiles::of(take_overs(recording)),
            hand_over: Quantiles::of(hand_overs(recording)),
            acquired_after_healing: Quantiles::of(
                times_to_acquire.into_iter().filter_map(|(_, took)| took).map(|took| nanoseconds(took, 0)),
            ),
            requests_per_lease_second: requests_per_lease_second(recording),
            counts: counts(recording),
        }
    }
}

/// Returns each grant with the next one of the same name.
fn successions(recording: &Recording) -> impl Iterator<Item = (&Grant, &Grant)> {
    recording.grants_by_name().flat_map(|grants| grants.windows(2).map(|pair| (&pair[0], &pair[1])))
}

fn margins(recording: &Recording) -> impl Iterator<Item = i64> {
    successions(recording)
        .filter(|(grant, _)| grant.end().1 != Ending::Released)
        .map(|(grant, next)| nanoseconds(next.from, grant.until()))
}

fn signal_lateness(recording: &Recording) -> impl Iterator<Item = i64> {
    recording.grants.iter().filter_map(|grant| {
        let (lost, due) = (grant.lost?, losses::due(recording, grant)?);
        Some(nanoseconds(lost.max(due), due))
    })
}

fn take_overs(recording: &Recording) -> impl Iterator<Item = i64> {
    successions(recording)
        .filter(|(grant, _)| grant.end().1 == Ending::Expired)
        .map(|(grant, next)| nanoseconds(next.from, grant.last_answer()) - nanoseconds(recording.case.ttl, 0))
}

fn hand_overs(recording: &Recording) -> impl Iterator<Item = i64> {
    successions(recording).filter_map(|(grant, next)| {
        let released = grant.releasing.filter(|_| grant.freed)?;
        next.asked.filter(|&asked| asked < released).map(|_| nanoseconds(next.from, released))
    })
}

fn requests_per_lease_second(recording: &Recording) -> Option<f64> {
    let mut requests = BTreeMap::new();
    for entry in &recording.entries {
        if let Event::Requests { count } = entry.event {
            let most = requests.entry(&entry.by).or_insert(0);
            *most = count.max(*most);
        }
    }
    let held: u64 = recording.grants.iter().map(|grant| grant.until().min(recording.ended) - grant.from).sum();
    (!requests.is_empty() && held > 0).then(|| requests.values().sum::<u64>() as f64 / (held as f64 / 1e9))
}

fn counts(recording: &Recording) -> BTreeMap<String, (u64, u64)> {
    let mut sums = BTreeMap::new();
    for ((what, _), count) in baseline::counts(recording) {
        let (before, after) = sums.entry(what.to_owned()).or_insert((0, 0));
        *before += count.before;
        *after += count.after;
    }
    sums
}
