//! C7: an attempt with an unknown outcome ends owned by its caller, or leaves the name free within a ttl (S13, S15).
//!
//! The worker has no guard for such a grant, so no renewal extends it: when a ttl has passed, and no other worker has held the
//! name meanwhile, the next attempt must be granted. A request may also be stuck in front of a frozen server or behind a cut,
//! and arrive when the fault ends.

use super::{Check, Violation, grants::Grant, recording::Recording};
use crate::record::{Entry, Event};

/// The time after the ttl that a waiter may need, in nanoseconds: it polls within two seconds if it gets no hint (L2), and the
/// machine may be busy.
pub const NOTICE_ALLOWANCE: u64 = 2_500_000_000;

pub(super) fn check(recording: &Recording) -> Vec<Violation> {
    recording.entries.iter().filter_map(|entry| blocked(recording, entry)).collect()
}

fn blocked(recording: &Recording, entry: &Entry) -> Option<Violation> {
    let Event::Unknown { name, attempt } = &entry.event else { return None };
    let free = must_be_free(recording, entry.at);
    let grants = || recording.grants.iter().filter(|grant| grant.name.as_str() == name);
    let held = grants().filter(|grant| grant.until() > entry.at).map(|grant| grant.from).min().unwrap_or(u64::MAX);
    if held <= free {
        return None;
    }
    let waited = |grant: &Grant| grant.from == held && grant.asked.is_some_and(|asked| asked <= free);
    let refused = recording.entries.iter().any(|later| {
        matches!(&later.event, Event::NotGranted { name: other, .. } if other == name)
            && later.at > free
            && later.at < held
    });
    (refused || grants().any(waited)).then(|| {
        let (by, at, free) = (&entry.by, recording.second(entry.at), recording.second(free));
        Check::Ambiguity.violated(format!(
            "attempt {attempt} of {by} for {name} had an unknown outcome at {at}; {name} was not held since, had to be \
             free at {free}, and was not"
        ))
    })
}

/// Returns when a name must be free at the latest after an attempt at this moment, if no worker holds it. Faults without an end,
/// such as the death of a worker, do not defer that. A fault of a leader defers it until another one is elected, which restarts
/// the ttl of each lease.
fn must_be_free(recording: &Recording, at: u64) -> u64 {
    let bound = recording.case.ttl.saturating_add(NOTICE_ALLOWANCE);
    let ended = recording
        .faults
        .iter()
        .filter_map(|span| Some((span.from, span.until?.saturating_add(recording.case.election))));
    ended.fold(at.saturating_add(bound), |free, (from, until)| {
        if from <= free && until > at { free.max(until.saturating_add(bound)) } else { free }
    })
}
