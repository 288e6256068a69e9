//! C1: believed intervals of one name never overlap (S1, S4, S7). C2: tokens strictly increase in the order of grants, and
//! never repeat (S9). What judges them is the checker of histories that the conformance suite uses.

use std::time::Duration;

use lease_core::{HolderId, Moment};
use lease_testkit::{History, Violation as Unsound};

use super::{Check, Violation, recording::Recording};

pub(super) fn check(recording: &Recording) -> Vec<Violation> {
    let check_of = |unsound: &Unsound| match unsound {
        Unsound::Overlap { .. } => Check::Exclusion,
        Unsound::TokenRepeated { .. } | Unsound::TokenFell { .. } => Check::Tokens,
    };
    unsound(recording).iter().map(|unsound| check_of(unsound).violated(unsound.to_string())).collect()
}

/// The overlaps and the tokens that do not increase. Moments count from the beginning of the recording.
pub(crate) fn unsound(recording: &Recording) -> Vec<Unsound> {
    let moment = |at: u64| Moment::from_origin(Duration::from_nanos(at.saturating_sub(recording.began)));
    let history = History::default();
    for grant in &recording.grants {
        let holder = HolderId::from_store(&grant.worker);
        history.began(&grant.name, &holder, grant.token, moment(grant.from)).ended(moment(grant.until()));
    }
    history.violations()
}
