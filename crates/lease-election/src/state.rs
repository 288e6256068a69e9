//! The state of a candidate, which its handles, its streams and its task share.

use lease_core::{FencingToken, LossReason};
use tokio::sync::watch;

use crate::{Health, term::Term};

/// The state of a candidate.
#[derive(Debug)]
pub(crate) struct CandidateState {
    pub(crate) status: watch::Sender<Status>,
    /// The term, from its beginning to its end.
    pub(crate) leadership: watch::Sender<Option<Term>>,
    pub(crate) standing: watch::Sender<Standing>,
    pub(crate) health: watch::Sender<Health>,
    /// The number of calls of `lead`; `None` before the first one. At zero there is no work to lead for.
    pub(crate) lead_calls: watch::Sender<Option<usize>>,
}

impl CandidateState {
    pub(crate) fn new() -> Self {
        Self {
            status: watch::Sender::new(Status::NotStarted),
            leadership: watch::Sender::new(None),
            standing: watch::Sender::new(Standing::NeverLed),
            health: watch::Sender::new(Health::presumed()),
            lead_calls: watch::Sender::new(None),
        }
    }

    /// Makes a candidate whose health was never set unfit until its first check returns.
    pub(crate) fn await_health(&self) {
        self.health.send_if_modified(|health| {
            let is_presumed = health.is_presumed();
            if is_presumed {
                *health = Health::awaited();
            }
            is_presumed
        });
    }

    pub(crate) fn set_health(&self, health: Health) {
        replace(&self.health, health);
    }
}

/// Sends a value, and wakes the receivers only if it differs from the last one.
pub(crate) fn replace<T: PartialEq>(sender: &watch::Sender<T>, new: T) {
    sender.send_if_modified(|old| {
        let differs = *old != new;
        *old = new;
        differs
    });
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    NotStarted,
    Running,
    Stopped,
}

/// Whether a candidate leads, or has led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    NeverLed,
    Leads { term: FencingToken },
    Led { term: FencingToken, reason: LossReason },
}
