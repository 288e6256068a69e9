//! One call of `acquire` or `try_acquire`, as observers see it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use super::shared::Shared;
use crate::{Correlation, Error, ErrorKind, HolderId, LeaseEvent, LeaseName, LeaseOptions, Moment, NotAcquired};

/// A call that asks for a lease. The caller and its attempt share it.
pub(super) struct AcquireCall {
    pub(super) shared: Arc<Shared>,
    pub(super) name: LeaseName,
    pub(super) holder: HolderId,
    pub(super) correlation: Option<Correlation>,
    began: Moment,
    /// How often the store was called.
    attempts: AtomicU32,
    /// Whether its end was reported, or is about to be.
    has_ended: AtomicBool,
}

impl AcquireCall {
    pub(super) fn begin(shared: &Arc<Shared>, name: LeaseName, options: &LeaseOptions) -> Arc<Self> {
        Arc::new(Self {
            name,
            holder: options.holder.as_ref().unwrap_or(&shared.holder).clone(),
            correlation: options.correlation.clone(),
            began: shared.clock.now(),
            attempts: AtomicU32::new(0),
            has_ended: AtomicBool::new(false),
            shared: Arc::clone(shared),
        })
    }

    pub(super) fn count_attempt(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Returns the time since the call began.
    pub(super) fn took(&self, now: Moment) -> Duration {
        now.saturating_since(self.began)
    }

    /// Ends the call. Returns false if it has ended before: a grant that arrives just after its caller has gone is not taken.
    pub(super) fn end(&self) -> bool {
        !self.has_ended.swap(true, Ordering::AcqRel)
    }

    /// Returns a guard that reports the end of the call when it is dropped, unless a grant has ended it.
    pub(super) fn until_ended(self: &Arc<Self>) -> Ending {
        Ending { call: Arc::clone(self), reason: NotAcquired::Dropped }
    }
}

/// Reports the end of a call that brought no lease, however it ends.
pub(super) struct Ending {
    call: Arc<AcquireCall>,
    reason: NotAcquired,
}

impl Ending {
    pub(super) fn held(&mut self) {
        self.reason = NotAcquired::Held;
    }

    pub(super) fn failed(&mut self, error: &Error) {
        self.reason = match error.kind() {
            ErrorKind::WaitLimit => NotAcquired::LimitPassed,
            ErrorKind::Closed => NotAcquired::Closed,
            kind => NotAcquired::Failed(kind),
        };
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Self { call, reason } = self;
        if !call.end() {
            return;
        }
        call.shared.events.emit(|| LeaseEvent::NotAcquired {
            name: call.name.clone(),
            holder: call.holder.clone(),
            reason: *reason,
            waited: call.took(call.shared.clock.now()),
            attempts: call.attempts(),
            correlation: call.correlation.clone(),
        });
    }
}
