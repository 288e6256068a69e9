//! C3: the resource never accepts a token below the largest that it has seen. If the only fault was to freeze workers, it must
//! have refused some writes, or fencing was not exercised.

use std::collections::BTreeMap;

use super::{
    Check, Violation,
    recording::{FaultSpan, Recording},
};
use crate::record::{Event, FROZEN};

pub(super) fn check(recording: &Recording) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut largest_by_name = BTreeMap::new();
    let mut refusals = 0;
    // The resource is one process: its entries are in the order in which it decided.
    for entry in &recording.entries {
        let at = || recording.second(entry.at);
        match &entry.event {
            Event::Accepted { name, token, writer } => {
                let largest = largest_by_name.entry(name).or_insert(*token);
                if token < largest {
                    violations.push(Check::Fencing.violated(format!(
                        "at {} the resource accepted a write of {writer} to {name} with token {token} after token {largest}",
                        at()
                    )));
                }
                *largest = (*largest).max(*token);
            }
            Event::Refused { name, token, writer, largest } => {
                refusals += 1;
                if token >= largest {
                    violations.push(Check::Fencing.violated(format!(
                        "at {} the resource refused a write of {writer} to {name} with token {token}, which is not below \
                         the largest, {largest}",
                        at()
                    )));
                }
            }
            _ => {}
        }
    }
    // With other faults, the name may have had no successor yet when the worker continued.
    let freezes_a_worker = |span: &FaultSpan| span.fault == FROZEN && recording.is_worker(&span.target);
    let only_workers_were_frozen = !recording.faults.is_empty() && recording.faults.iter().all(freezes_a_worker);
    if only_workers_were_frozen && refusals == 0 {
        violations
            .push(Check::Fencing.violated("workers were frozen and no write was refused: fencing was not tested"));
    }
    violations
}
