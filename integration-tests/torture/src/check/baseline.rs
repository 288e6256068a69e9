//! C6: tasks, descriptors, connections, leases, and the gauges of held leases and waiters return to their baseline (S15, S24).

use std::collections::BTreeMap;

use super::{Check, Violation, recording::Recording};
use crate::record::Event;

/// A count before the faults, and after everything has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BeforeAndAfter {
    pub(super) before: u64,
    pub(super) after: u64,
}

pub(super) fn check(recording: &Recording) -> Vec<Violation> {
    let counts = counts(recording);
    if counts.is_empty() {
        return vec![Check::Baseline.violated("nothing was counted twice: leaks cannot be found")];
    }
    counts
        .into_iter()
        .filter(|(_, count)| count.after > count.before)
        .map(|((what, of), BeforeAndAfter { before, after })| {
            Check::Baseline.violated(format!("{what} of {of} grew from {before} to {after}"))
        })
        .collect()
}

/// Returns the counts that were taken at least twice, by kind and process. A process that was killed has one count only.
pub(super) fn counts(recording: &Recording) -> BTreeMap<(&str, &str), BeforeAndAfter> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for entry in &recording.entries {
        if let Event::Counted { what, of, count } = &entry.event {
            all.entry((what.as_str(), of.as_str())).or_default().push(*count);
        }
    }
    all.into_iter()
        .filter_map(|(key, counts)| {
            let [before, .., after] = counts[..] else { return None };
            Some((key, BeforeAndAfter { before, after }))
        })
        .collect()
}
