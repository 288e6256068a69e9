//! C1: tenures of one name never overlap (S1, S4, S7). C2: tokens strictly increase in the order of grants, and never repeat
//! (S9). Both use the history checker of the conformance suite; but grants that overlap are ordered only where the order is
//! certain, see [`is_earlier`].

use std::time::Duration;

use lease_core::{HolderId, Moment};
use lease_testkit::{History, Violation as Unsound};

use super::{Check, Violation, grants::Grant, recording::Recording};

pub(super) fn check(recording: &Recording) -> Vec<Violation> {
    let check_of = |unsound: &Unsound| match unsound {
        Unsound::Overlap { .. } => Check::Exclusion,
        _ => Check::Tokens,
    };
    unsound(recording).iter().map(|unsound| check_of(unsound).violated(unsound.to_string())).collect()
}

/// Returns the overlaps and the tokens that do not increase. Moments count from the beginning of the recording.
pub(crate) fn unsound(recording: &Recording) -> Vec<Unsound> {
    let moment = |at: u64| Moment::from_origin(Duration::from_nanos(at.saturating_sub(recording.began)));
    let history = History::default();
    for grant in &recording.grants {
        let holder = HolderId::from_store(&grant.worker);
        history.began(&grant.name, &holder, grant.token, moment(grant.from)).ended(moment(grant.until()));
    }
    let mut unsound = history.violations();
    unsound.retain(|unsound| match unsound {
        Unsound::TokenFell { second, .. } => {
            let is_second = |grant: &&Grant| (&grant.name, grant.token) == (&second.name, second.token);
            let greater = |grant: &&Grant| grant.name == second.name && grant.token > second.token;
            let mut seconds = recording.grants.iter().filter(is_second);
            seconds.any(|second| {
                let mut greater = recording.grants.iter().filter(greater);
                greater.any(|first| is_earlier(first, second, recording.case.ttl))
            })
        }
        _ => true,
    });
    unsound
}

/// Returns whether the first grant was certainly made before the second: it had ended, or its answer arrived before the request
/// for the second can have been sent. If two servers grant the same name at the same time, which is an overlap, their answers
/// may arrive in the other order.
fn is_earlier(first: &Grant, second: &Grant, ttl: u64) -> bool {
    // A tenure ends at most a ttl after the request for its grant (S1).
    let sent = second.deadlines.first().map_or(second.from, |&(_, deadline)| deadline.saturating_sub(ttl));
    first.until() <= second.from || first.from <= sent
}
