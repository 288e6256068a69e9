//! C5: after healing, every name is granted again in time (L1).

use lease_core::LeaseName;

use super::{Check, Violation, recording::Recording};
use crate::record::Event;

pub(super) fn check(recording: &Recording) -> Vec<Violation> {
    let Some(healed) = healed(recording) else {
        let harmed = !recording.faults.is_empty();
        return harmed
            .then(|| Check::Recovery.violated("the record has faults, but no event that they were healed"))
            .into_iter()
            .collect();
    };
    let bound = recording.case.recovery;
    times_to_acquire(recording, healed)
        .into_iter()
        .filter(|(_, took)| took.is_none_or(|took| took > bound))
        .map(|(name, took)| {
            let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
            let took =
                took.map_or("was not granted again".into(), |took| format!("was granted {:.3} s", seconds(took)));
            let bound = seconds(bound);
            Check::Recovery.violated(format!("{name} {took} after healing; the bound is {bound:.3} s"))
        })
        .collect()
}

/// Returns when all faults had ended, if that was recorded.
pub(super) fn healed(recording: &Recording) -> Option<u64> {
    recording.entries.iter().filter(|entry| entry.event == Event::Healed).map(|entry| entry.at).max()
}

/// Returns the time from this moment to the next grant of each name, if there was one.
pub(super) fn times_to_acquire(recording: &Recording, healed: u64) -> Vec<(LeaseName, Option<u64>)> {
    let time_to = |name: &LeaseName| {
        let grants = recording.grants.iter().filter(|grant| grant.name == *name);
        grants.filter_map(|grant| grant.from.checked_sub(healed)).min()
    };
    recording.names().into_iter().map(|name| (name.clone(), time_to(&name))).collect()
}
