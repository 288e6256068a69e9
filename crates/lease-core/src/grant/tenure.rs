//! One grant, shared by its guard, its handles and the renewal task.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use tracing::Span;

use crate::{
    Claim, Clock, Correlation, Error, FencingToken, HolderId, LeaseEvent, LeaseLost, LeaseName, LeaseState, LossReason,
    Metadata, MetadataUpdate, Moment, ReleaseRequest, RenewRequest,
    grant::{
        latch::{Extended, Latch},
        schedule::{Plan, Schedule},
    },
    observer::Events,
};

/// One grant that a client holds or has held.
pub(crate) struct Tenure {
    /// The number of the tenure within its client.
    pub(crate) number: u64,
    pub(crate) claim: Claim,
    pub(crate) token: FencingToken,
    pub(crate) correlation: Option<Correlation>,
    pub(crate) schedule: Schedule,
    /// Just before the request that brought the grant was sent.
    pub(crate) began: Moment,
    clock: Arc<dyn Clock>,
    events: Events,
    latch: Latch,
    /// How many scopes of exclusive work hold it.
    scopes: AtomicUsize,
    /// Whether a release has been handed out to be sent.
    is_told: AtomicBool,
    metadata: Mutex<MetadataChanges>,
    lost_at: OnceLock<Moment>,
    /// From the grant to the loss; none afterwards.
    span: Mutex<Span>,
}

/// What is known of a grant when its tenure begins.
pub(crate) struct Granted {
    pub(crate) claim: Claim,
    pub(crate) token: FencingToken,
    pub(crate) correlation: Option<Correlation>,
    pub(crate) schedule: Schedule,
    pub(crate) span: Span,
    pub(crate) sent: Moment,
    pub(crate) plan: Plan,
}

/// The release that ends a grant.
#[derive(Debug, Clone)]
pub(crate) struct PendingRelease {
    pub(crate) request: ReleaseRequest,
    /// `None` for a grant that may have been made without being seen.
    pub(crate) token: Option<FencingToken>,
    /// How long to wait for the answer.
    pub(crate) timeout: Duration,
    pub(crate) correlation: Option<Correlation>,
}

/// A renewal that failed, or whose answer is overdue.
#[derive(Debug)]
pub(crate) struct FailedRenewal {
    pub(crate) error: Error,
    pub(crate) sent: Moment,
    pub(crate) is_overdue: bool,
}

/// Changes of metadata that the store has not confirmed yet. Every renewal carries them.
#[derive(Default)]
struct MetadataChanges {
    revision: u64,
    unconfirmed: Option<MetadataUpdate>,
}

impl Tenure {
    /// Creates the tenure of a grant, counted from when its request was sent (S1).
    pub(crate) fn new(number: u64, clock: Arc<dyn Clock>, events: Events, granted: Granted) -> Self {
        let Granted { claim, token, correlation, schedule, span, sent, plan } = granted;
        Self {
            number,
            claim,
            token,
            correlation,
            schedule,
            began: sent,
            latch: Latch::new(Arc::clone(&clock), schedule.tenure_ends(sent), plan.valid_until),
            clock,
            events,
            scopes: AtomicUsize::new(0),
            is_told: AtomicBool::new(false),
            metadata: Mutex::default(),
            lost_at: OnceLock::new(),
            span: Mutex::new(span),
        }
    }

    /// Reports the grant, with the number of attempts and the time since it was requested.
    pub(crate) fn report_grant(&self, now: Moment, waited: Duration, attempts: u32) {
        self.emit(|| {
            let (name, holder, token, correlation) = self.identity();
            let valid_for = self.valid_until().saturating_since(now);
            LeaseEvent::Granted {
                name,
                holder,
                token,
                ttl: self.schedule.ttl,
                valid_for,
                waited,
                attempts,
                correlation,
            }
        });
    }

    pub(crate) fn name(&self) -> &LeaseName {
        &self.claim.name
    }

    /// Counts a scope of exclusive work, before whose end the lease is not released by the client (S17).
    pub(crate) fn enter_scope(&self) {
        self.scopes.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn leave_scope(&self) {
        self.scopes.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn is_scoped(&self) -> bool {
        self.scopes.load(Ordering::Acquire) > 0
    }

    /// Returns whether the lease is held. False from the deadline on, for ever (S4).
    pub(crate) fn is_held(&self) -> bool {
        self.latch.is_held(|reason| self.report(reason))
    }

    pub(crate) fn valid_until(&self) -> Moment {
        self.latch.valid_until()
    }

    pub(crate) fn remaining(&self) -> Duration {
        if self.is_held() { self.valid_until().saturating_since(self.clock.now()) } else { Duration::ZERO }
    }

    pub(crate) fn state(&self) -> LeaseState {
        self.is_held();
        self.latch.state()
    }

    pub(crate) fn states(&self) -> watch::Receiver<LeaseState> {
        self.is_held();
        self.latch.subscribe()
    }

    /// Returns the loss, if the lease is lost.
    pub(crate) fn loss(&self) -> Option<LeaseLost> {
        if self.is_held() {
            return None;
        }
        match self.state() {
            LeaseState::Lost(reason) => Some(LeaseLost { name: self.name().clone(), token: self.token, reason }),
            _ => None,
        }
    }

    /// Waits for the loss, on a timer of its own, so that it is noticed in time whatever the store and the renewal task do (S5).
    pub(crate) async fn lost(&self) -> LeaseLost {
        let mut states = self.latch.subscribe();
        loop {
            if let Some(lost) = self.loss() {
                return lost;
            }
            tokio::select! {
                biased;
                _ = states.changed() => {}
                () = self.clock.sleep_until(self.valid_until()) => {}
            }
        }
    }

    /// Latches the loss. Only the first reason counts and is reported (L6); a deadline that has passed comes before it.
    pub(crate) fn lose(&self, reason: LossReason) {
        self.latch.lose(reason, |reason| self.report(reason));
    }

    /// Moves the deadline after a successful renewal. Returns false if the lease is lost, which is final (S4).
    pub(crate) fn extend(&self, plan: Plan, sent: Moment, revision: Option<u64>) -> bool {
        if let Some(revision) = revision {
            let mut changes = self.changes();
            changes.unconfirmed.take_if(|update| update.revision <= revision);
        }
        let Extended::Held { recovered } = self.latch.extend(plan.valid_until, |reason| self.report(reason)) else {
            return false;
        };
        self.emit(|| {
            let ((name, holder, token, correlation), now) = (self.identity(), self.clock.now());
            let (valid_for, took) = (self.valid_until().saturating_since(now), now.saturating_since(sent));
            LeaseEvent::Renewed { name, holder, token, valid_for, took, correlation }
        });
        if recovered {
            self.emit(|| {
                let (name, holder, token, correlation) = self.identity();
                LeaseEvent::Recovered { name, holder, token, correlation }
            });
        }
        true
    }

    /// Loses the lease after a renewal that was sent at this moment: the store answered that the lease is not this holder's.
    pub(crate) fn refuse(&self, reason: LossReason, sent: Moment) {
        if self.is_held() {
            self.emit(|| {
                let (name, holder, token, correlation) = self.identity();
                let (reason, took) = (reason.clone(), self.clock.now().saturating_since(sent));
                LeaseEvent::RenewalRefused { name, holder, token, reason, took, correlation }
            });
        }
        self.lose(reason);
    }

    /// Reports a renewal that failed or is overdue, and marks and reports the jeopardy (L9).
    pub(crate) fn in_jeopardy(&self, failed: FailedRenewal) {
        if !self.is_held() {
            return;
        }
        let jeopardy = self.latch.endanger();
        let FailedRenewal { error, sent, is_overdue } = failed;
        self.emit(|| {
            let (name, holder, token, correlation) = self.identity();
            let (error, took) = (error.clone(), self.clock.now().saturating_since(sent));
            LeaseEvent::RenewalFailed { name, holder, token, error, took, is_overdue, correlation }
        });
        if let Some(until) = jeopardy {
            self.emit(|| {
                let (name, holder, token, correlation) = self.identity();
                let remaining = until.saturating_since(self.clock.now());
                LeaseEvent::Jeopardy { name, holder, token, remaining, error, correlation }
            });
        }
    }

    /// Sets new metadata, which the next renewals carry until one succeeds.
    pub(crate) fn change_metadata(&self, metadata: Metadata) {
        let mut changes = self.changes();
        changes.revision += 1;
        let metadata = metadata.with_correlation(self.correlation.as_ref());
        changes.unconfirmed = Some(MetadataUpdate::new(changes.revision, metadata));
    }

    pub(crate) fn renew_request(&self) -> RenewRequest {
        let metadata = self.changes().unconfirmed.clone();
        RenewRequest::new(self.claim.clone(), self.schedule.ttl).with_metadata(metadata)
    }

    /// Latches the end of the tenure, before the store is called (S12). Returns the release to send; `None` if the store reported
    /// the end of the grant itself, or if a release was handed out before.
    pub(crate) fn end(&self, reason: LossReason, successor: Option<(HolderId, Duration)>) -> Option<PendingRelease> {
        self.lose(reason);
        let is_reported = matches!(
            self.state(),
            LeaseState::Lost(LossReason::TakenOver { .. } | LossReason::Gone | LossReason::Broken)
        );
        if is_reported || self.is_told.swap(true, Ordering::AcqRel) {
            return None;
        }
        let hold_for = match self.schedule.hold_at_least {
            Duration::ZERO => Duration::ZERO,
            hold_at_least => hold_at_least.saturating_sub(self.clock.now().saturating_since(self.began)),
        };
        let request = ReleaseRequest::new(self.claim.clone());
        let request = match successor {
            Some((successor, reserved)) => request.with_hold_for(hold_for.max(reserved)).with_reserved_for(successor),
            None => request.with_hold_for(hold_for),
        };
        Some(PendingRelease {
            request,
            token: Some(self.token),
            timeout: self.schedule.attempt_timeout,
            correlation: self.correlation.clone(),
        })
    }

    /// Returns when the loss was latched, if the lease is lost.
    pub(crate) fn lost_at(&self) -> Option<Moment> {
        self.is_held();
        self.lost_at.get().copied()
    }

    /// Reports the loss. The latch calls it once per grant (L6).
    fn report(&self, reason: LossReason) {
        self.lost_at.get_or_init(|| self.clock.now());
        if reason != LossReason::Released {
            let span = self.lock_span().clone();
            span.record("otel.status_code", "ERROR").record("error.type", reason.as_str());
        }
        self.emit(|| {
            let (name, holder, token, correlation) = self.identity();
            let held_for = self.clock.now().saturating_since(self.began);
            LeaseEvent::Lost { name, holder, token, reason, held_for, correlation }
        });
        *self.lock_span() = Span::none();
    }

    /// Reports an event within the span of the grant.
    fn emit(&self, event: impl FnOnce() -> LeaseEvent) {
        let span = self.lock_span().clone();
        span.in_scope(|| self.events.emit(event));
    }

    fn lock_span(&self) -> MutexGuard<'_, Span> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn identity(&self) -> (LeaseName, HolderId, FencingToken, Option<Correlation>) {
        (self.claim.name.clone(), self.claim.holder.clone(), self.token, self.correlation.clone())
    }

    fn changes(&self) -> MutexGuard<'_, MetadataChanges> {
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenure")
            .field("name", self.name())
            .field("token", &self.token)
            .field("state", &self.latch.state())
            .finish_non_exhaustive()
    }
}
