//! The latch: the deadline and the state of a lease, which change together.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::sync::{AtomicU64, Mutex, MutexGuard, Ordering, watch};
use crate::{Clock, LeaseState, LossReason, Moment};

/// The deadline of a lost lease, which has passed on any clock.
const LOST: u64 = 0;

/// The deadline is read without a lock. It is written only by a [change](Latch::change), under the lock of `state`, so that a
/// latched loss is final (S4), in whatever order threads arrive.
///
/// The thread that latches the loss calls `report`, without holding the lock: once per latch (L6).
pub(crate) struct Latch {
    clock: Arc<dyn Clock>,
    /// When the maximum tenure ends, if there is one.
    tenure_ends: Option<Moment>,
    /// [`Moment`] in nanoseconds, or [`LOST`].
    deadline: AtomicU64,
    state: Mutex<State>,
}

/// The channel is created for the first watcher: most leases have none, and it is larger than the rest of the lease.
enum State {
    Unwatched(LeaseState),
    Watched(watch::Sender<LeaseState>),
}

/// The outcome of an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extended {
    /// The deadline was moved.
    Held {
        /// Whether the lease was in jeopardy (L9).
        recovered: bool,
    },
    /// The lease was lost before, and stays lost (S4).
    Lost,
}

impl Latch {
    pub(crate) fn new(clock: Arc<dyn Clock>, tenure_ends: Option<Moment>, valid_until: Moment) -> Self {
        let (deadline, state) = (nanoseconds(valid_until).into(), Mutex::new(State::Unwatched(LeaseState::Held)));
        Self { clock, tenure_ends, deadline, state }
    }

    /// Returns whether the lease is held. False from the deadline on, for ever (S4).
    pub(crate) fn is_held(&self, report: impl FnOnce(LossReason)) -> bool {
        let deadline = self.deadline.load(Ordering::Acquire);
        deadline != LOST && (nanoseconds(self.clock.now()) < deadline || !self.expire(report))
    }

    pub(crate) fn valid_until(&self) -> Moment {
        Moment::from_origin(Duration::from_nanos(self.deadline.load(Ordering::Acquire)))
    }

    pub(crate) fn state(&self) -> LeaseState {
        match &*self.lock() {
            State::Unwatched(state) => state.clone(),
            State::Watched(sender) => sender.borrow().clone(),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<LeaseState> {
        let mut state = self.lock();
        let (sender, receiver) = match &*state {
            State::Unwatched(state) => watch::channel(state.clone()),
            State::Watched(sender) => return sender.subscribe(),
        };
        *state = State::Watched(sender);
        receiver
    }

    /// Latches the loss. Only the first reason counts; a deadline that has passed comes before it.
    pub(crate) fn lose(&self, reason: LossReason, report: impl Fn(LossReason)) {
        self.is_held(&report);
        self.latch(|_| Some(reason), report);
    }

    /// Moves the deadline, never back (S8).
    pub(crate) fn extend(&self, valid_until: Moment, report: impl FnOnce(LossReason)) -> Extended {
        let mut extended = Extended::Lost;
        self.change(|state| {
            let deadline = self.deadline.load(Ordering::Acquire);
            if nanoseconds(self.clock.now()) >= deadline {
                return false;
            }
            self.deadline.store(nanoseconds(valid_until).max(deadline), Ordering::Release);
            let recovered = matches!(std::mem::replace(state, LeaseState::Held), LeaseState::Jeopardy { .. });
            extended = Extended::Held { recovered };
            recovered
        });
        if extended == Extended::Lost {
            self.is_held(report);
        }
        extended
    }

    /// Marks the lease as in jeopardy (L9). Returns until when it is held, or `None` if it was marked before or is lost.
    pub(crate) fn endanger(&self) -> Option<Moment> {
        let mut news = None;
        self.change(|state| {
            if *state == LeaseState::Held {
                let until = self.valid_until();
                *state = LeaseState::jeopardy(until);
                news = Some(until);
            }
            news.is_some()
        });
        news
    }

    /// Latches the expiry, unless the deadline has been moved in the meantime. Returns true if the lease is lost.
    fn expire(&self, report: impl FnOnce(LossReason)) -> bool {
        let expired = |deadline| {
            let now = self.clock.now();
            let tenure_over = self.tenure_ends.is_some_and(|end| now >= end);
            let reason = if tenure_over { LossReason::TenureEnded } else { LossReason::Expired };
            (nanoseconds(now) >= deadline).then_some(reason)
        };
        self.latch(expired, report);
        self.deadline.load(Ordering::Acquire) == LOST
    }

    fn latch(&self, reason: impl FnOnce(u64) -> Option<LossReason>, report: impl FnOnce(LossReason)) {
        let mut lost = None;
        self.change(|state| {
            let deadline = self.deadline.load(Ordering::Acquire);
            lost = if deadline == LOST { None } else { reason(deadline) };
            if let Some(reason) = &lost {
                self.deadline.store(LOST, Ordering::Release);
                *state = LeaseState::Lost(reason.clone());
            }
            lost.is_some()
        });
        if let Some(reason) = lost {
            report(reason);
        }
    }

    /// Changes the deadline and the state, and notifies watchers if `change` returns true.
    fn change(&self, change: impl FnOnce(&mut LeaseState) -> bool) {
        let sender = match &mut *self.lock() {
            State::Unwatched(state) => {
                change(state);
                return;
            }
            // The channel has its own lock, which is not held while watchers are woken.
            State::Watched(sender) => sender.clone(),
        };
        sender.send_if_modified(change);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nanoseconds(moment: Moment) -> u64 {
    u64::try_from(moment.since_origin().as_nanos()).unwrap_or(u64::MAX)
}
