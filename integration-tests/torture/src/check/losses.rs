//! C4: a loss is signalled by the local deadline, or at once when the worker can run again, and it is final (S4, S5, S18).

use super::{
    Check, Violation,
    grants::{Ending, Grant},
    recording::Recording,
};

/// The time by which the signal may be late, in nanoseconds: timers have a resolution of a millisecond, and processes wait on a
/// busy machine. Between the deadline and the signal the tenure has ended: `is_held()` reads the clock.
pub const SIGNAL_ALLOWANCE: u64 = 250_000_000;

pub(super) fn check(recording: &Recording) -> Vec<Violation> {
    let mut violations = Vec::new();
    for grant in &recording.grants {
        let Grant { name, worker, token, .. } = grant;
        let subject = format!("token {token} of {name}, of {worker}");
        for pair in grant.deadlines.windows(2) {
            let [(_, earlier), (at, until)] = [pair[0], pair[1]];
            if at > earlier.saturating_add(SIGNAL_ALLOWANCE) && until > at {
                let (earlier, at) = (recording.second(earlier), recording.second(at));
                violations
                    .push(Check::Losses.violated(format!("{subject}, ended at {earlier} and was revived at {at}")));
            }
        }
        let Some(due) = due(recording, grant) else { continue };
        match grant.lost {
            Some(lost) if lost.saturating_sub(due) > SIGNAL_ALLOWANCE => {
                let (lost, due) = (recording.second(lost), recording.second(due));
                violations.push(
                    Check::Losses.violated(format!("{subject}: the loss was due at {due} and signalled at {lost}")),
                );
            }
            None if due.saturating_add(SIGNAL_ALLOWANCE) < recording.ended => {
                let due = recording.second(due);
                violations
                    .push(Check::Losses.violated(format!("{subject}: the loss was due at {due} and never signalled")));
            }
            _ => {}
        }
    }
    violations
}

/// Returns when the loss of this grant had to be signalled: at its deadline, or when its worker could run again. Returns `None` if
/// no signal was due: the worker released the grant before, or was killed.
pub(super) fn due(recording: &Recording, grant: &Grant) -> Option<u64> {
    let (end, ending) = grant.end();
    if ending == Ending::Expired { recording.able(&grant.worker, end, SIGNAL_ALLOWANCE, grant.lost) } else { None }
}
