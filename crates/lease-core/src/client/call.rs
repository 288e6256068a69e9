//! One call of `acquire` or `try_acquire`, as observers see it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tracing::{Span, field::Empty, info_span};

use super::{shared::Shared, spans};
use crate::{
    Correlation, Error, ErrorKind, FencingToken, HolderId, LeaseEvent, LeaseName, LeaseOptions, Moment, NotAcquired,
};

/// A call that asks for a lease. The caller and its attempt share it.
pub(super) struct AcquireCall {
    pub(super) shared: Arc<Shared>,
    pub(super) name: LeaseName,
    pub(super) holder: HolderId,
    pub(super) correlation: Option<Correlation>,
    /// The span of the call.
    pub(super) span: Span,
    /// The span in which the caller made it.
    caller: Span,
    began: Moment,
    /// How often the store was called.
    attempts: AtomicU32,
    /// Whether its end was reported, or is about to be.
    has_ended: AtomicBool,
}

impl AcquireCall {
    /// Begins a call, in the span of this kind.
    pub(super) fn begin(
        shared: &Arc<Shared>,
        name: LeaseName,
        options: &LeaseOptions,
        span: impl FnOnce(&LeaseName, &HolderId, Option<&Correlation>, &str) -> Span,
    ) -> Arc<Self> {
        let holder = options.holder.as_ref().unwrap_or(&shared.holder).clone();
        let correlation = options.correlation.clone();
        Arc::new(Self {
            span: span(&name, &holder, correlation.as_ref(), shared.capabilities.store),
            caller: Span::current(),
            name,
            holder,
            correlation,
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

    /// Returns a span for a wait of the call.
    pub(super) fn wait_span(&self) -> Span {
        info_span!(target: "lease", parent: &self.span, "lease.wait", otel.kind = "internal", otel.status_code = Empty,
            error.type = Empty, lease.name = %self.name, lease.holder = %self.holder, lease.held_by = Empty,
            correlation.id = spans::id(self.correlation.as_ref()))
    }

    /// Returns a span for its grant, from its beginning to its loss. It belongs to the caller's span, not to that of the call.
    pub(super) fn hold_span(&self, token: FencingToken) -> Span {
        self.span.record("lease.token", token.get());
        info_span!(target: "lease", parent: &self.caller, "lease.hold", otel.kind = "internal", otel.status_code = Empty,
            error.type = Empty, lease.store = self.shared.capabilities.store, lease.name = %self.name, lease.holder = %self.holder,
            lease.token = token.get(), correlation.id = spans::id(self.correlation.as_ref()))
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
