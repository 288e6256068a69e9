//! C0: the record is complete, and has observations. An empty record would pass all other checks.

use std::collections::BTreeSet;

use super::{Check, Violation, recording::Recording};
use crate::record::Event;

pub(super) fn check(recording: &Recording) -> Vec<Violation> {
    let mut violations = Vec::new();
    if recording.grants.is_empty() {
        violations.push(Check::Wholeness.violated("there was no grant: nothing was tested"));
    }
    let writes = |event: &Event| matches!(event, Event::Accepted { .. } | Event::Refused { .. });
    if !recording.entries.iter().any(|entry| writes(&entry.event)) {
        violations.push(Check::Wholeness.violated("there was no write to the resource: fencing was not tested"));
    }
    let granted: BTreeSet<_> =
        recording.grants.iter().map(|grant| (grant.worker.as_str(), grant.name.as_str(), grant.token.get())).collect();
    for entry in &recording.entries {
        let (worker, name, token) = match &entry.event {
            Event::Renewed { name, token, .. }
            | Event::Lost { name, token, .. }
            | Event::Releasing { name, token }
            | Event::Released { name, token, .. } => (&entry.by, name, *token),
            Event::Accepted { name, token, writer } | Event::Refused { name, token, writer, .. } => {
                (writer, name, *token)
            }
            _ => continue,
        };
        if !granted.contains(&(worker.as_str(), name.as_str(), token)) {
            let (at, by) = (recording.second(entry.at), &entry.by);
            violations.push(Check::Wholeness.violated(format!(
                "at {at} {by} has an entry for token {token} of {name}, which {worker} was never granted"
            )));
        }
    }
    violations
}
