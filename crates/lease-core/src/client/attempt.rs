//! One attempt to acquire a lease. It releases a grant that no caller takes.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tracing::Span;

use super::{call::AcquireCall, lease::Lease, shared::Shared, spans, try_acquired::TryAcquired};
use crate::{
    AcquireRequest, Acquired, AttemptOutcome, Claim, Correlation, Error, ErrorKind, Grant, GrantId, HolderId,
    LeaseEvent, LeaseName, LeaseOptions, LeaseRecord, Moment, ReleaseRequest, Result,
    batch::{Answered, Request},
    grant::{Granted, PendingRelease, Plan, Schedule, Tenure},
};

/// Tries to acquire a lease once.
pub(super) async fn try_acquire(shared: &Arc<Shared>, name: LeaseName, options: LeaseOptions) -> Result<TryAcquired> {
    let call = AcquireCall::begin(shared, name, &options, spans::try_acquire);
    let span = call.span.clone();
    let asking = async {
        let mut ending = call.until_ended();
        match Attempt::new(Arc::clone(&call), options).ask().await {
            Asked::Granted(lease) => Ok(TryAcquired::Acquired(lease)),
            Asked::Held { by, retry_after } => {
                ending.held();
                if let Some(by) = &by {
                    call.span.record("lease.held_by", by.holder.as_str());
                }
                Ok(TryAcquired::Held { by, retry_after })
            }
            Asked::Failed(error) | Asked::Spent(error) => {
                ending.failed(&error);
                Err(error)
            }
        }
    };
    spans::within(span, asking).await
}

/// One attempt to acquire a lease (S13). It may call the store several times, always with the same nonce.
///
/// If it is dropped without a lease, a grant that may have been made is released in the background, as soon as none of its calls
/// is in flight (S15).
pub(super) struct Attempt {
    call: Arc<AcquireCall>,
    request: AcquireRequest,
    schedule: Schedule,
    /// How many of the calls hung, one after the other.
    hung: u32,
    /// Whether the nonce may have reached the store.
    was_sent: bool,
    outcomes: Arc<Outcomes>,
}

/// The outcome of a call of the store.
pub(super) enum Asked {
    Granted(Lease),
    /// Another holder has the lease.
    Held {
        by: Option<LeaseRecord>,
        retry_after: Option<Duration>,
    },
    /// The call failed, or its outcome is unknown. The same attempt may be repeated.
    Failed(Error),
    /// This attempt had its grant, which cannot be used. Only a new attempt can bring another one.
    Spent(Error),
}

impl Attempt {
    pub(super) fn new(call: Arc<AcquireCall>, options: LeaseOptions) -> Self {
        let schedule = Schedule::new(&options);
        let (name, holder) = (call.name.clone(), call.holder.clone());
        let request = AcquireRequest::new(name, holder, GrantId::random(), options.ttl)
            .with_metadata(options.metadata.with_correlation(call.correlation.as_ref()))
            .with_announce(options.announce);
        let outcomes = Outcomes::new(&call.shared, &request, call.correlation.clone(), schedule);
        Self { call, request, schedule, hung: 0, was_sent: false, outcomes }
    }

    pub(super) fn name(&self) -> &LeaseName {
        &self.request.name
    }

    pub(super) fn holder(&self) -> &HolderId {
        &self.request.holder
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.call.shared
    }

    /// Returns a number that differs between attempts, for jitter. Derived from the holder and the name, so that a simulation can
    /// be reproduced.
    pub(super) fn seed(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.name(), self.holder()).hash(&mut hasher);
        hasher.finish()
    }

    /// Returns the span of the call.
    pub(super) fn span(&self) -> Span {
        self.call.span.clone()
    }

    pub(super) fn attempt_timeout(&self) -> Duration {
        self.schedule.attempt_timeout
    }

    /// Begins a new attempt, after the grant of this one was spent.
    pub(super) fn begin_anew(&mut self) {
        self.request.grant = GrantId::random();
        self.was_sent = false;
        self.outcomes.abandon();
        self.outcomes = Outcomes::new(self.shared(), &self.request, self.call.correlation.clone(), self.schedule);
    }

    /// Calls the store once.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not cut off the call. Drop the attempt as well, or ask again.
    pub(super) async fn ask(&mut self) -> Asked {
        let began = self.shared().clock.now();
        self.call.count_attempt();
        let request = Request::new(self.request.clone(), began, self.schedule.attempt_timeout)
            .after_hanging(self.hung)
            .for_the_first_time(!std::mem::replace(&mut self.was_sent, true));
        let outcomes = Arc::clone(&self.outcomes);
        outcomes.lock().in_flight += 1;
        let asking = self.shared().acquires.submit(request, move |answered| outcomes.completed(&answered.result));
        let Answered { sent, result, hung } = asking.await;
        self.hung = if hung { self.hung + 1 } else { 0 };
        let now = self.shared().clock.now();
        self.shared().events.emit(|| LeaseEvent::Attempted {
            name: self.name().clone(),
            holder: self.holder().clone(),
            outcome: match &result {
                Ok(Acquired::Granted(_)) => AttemptOutcome::Granted,
                Ok(Acquired::Held { .. }) => AttemptOutcome::Held,
                Ok(Acquired::Spent) => AttemptOutcome::Failed(ErrorKind::Unavailable),
                Err(error) => AttemptOutcome::Failed(error.kind()),
            },
            took: now.saturating_since(began),
            correlation: self.call.correlation.clone(),
        });
        match result {
            Ok(Acquired::Granted(grant)) => match self.schedule.after_grant(sent, now, grant.remaining) {
                Some(plan) => self.hold(grant, sent, now, plan),
                None => Asked::Spent(self.error("the answer arrived after the grant was no longer valid (S1)")),
            },
            Ok(Acquired::Held { by, retry_after }) => Asked::Held { by, retry_after },
            Ok(Acquired::Spent) => {
                Asked::Spent(self.error("an earlier grant of this attempt has ended without being seen (S13)"))
            }
            Err(error) => Asked::Failed(error),
        }
    }

    fn hold(&self, grant: Grant, sent: Moment, now: Moment, plan: Plan) -> Asked {
        if !self.call.end() {
            // Nobody takes the grant: it is released with the attempt (S15).
            return Asked::Failed(
                Error::new(ErrorKind::Closed, "acquire", "the call was cancelled").with_lease(self.name()),
            );
        }
        let shared = self.shared();
        let tenure = Tenure::new(
            shared.next_tenure(),
            Arc::clone(&shared.clock),
            shared.events.clone(),
            Granted {
                claim: self.outcomes.claim(),
                token: grant.token,
                correlation: self.call.correlation.clone(),
                schedule: self.schedule,
                span: self.call.hold_span(grant.token),
                sent,
                plan,
            },
        );
        tenure.report_grant(now, self.call.took(now), self.call.attempts());
        match Lease::begin(shared, tenure, plan) {
            Ok(lease) => {
                self.outcomes.lock().claimed = true;
                Asked::Granted(lease)
            }
            Err(error) => Asked::Failed(error),
        }
    }

    fn error(&self, message: &'static str) -> Error {
        Error::new(ErrorKind::Unavailable, "acquire", message)
            .with_lease(self.name())
            .in_store(self.shared().capabilities.store)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.outcomes.abandon();
    }
}

/// The outcomes of all calls of one attempt. Some may arrive after the attempt was dropped.
struct Outcomes {
    shared: Arc<Shared>,
    claim: Claim,
    correlation: Option<Correlation>,
    attempt_timeout: Duration,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    in_flight: usize,
    /// Whether a grant was made, or may have been made.
    maybe_granted: bool,
    /// [`Grant::handle`], once it is known.
    handle: u64,
    /// Whether a guard has taken the grant, and releases it.
    claimed: bool,
    /// Whether the attempt was dropped.
    abandoned: bool,
}

impl Outcomes {
    fn new(
        shared: &Arc<Shared>,
        request: &AcquireRequest,
        correlation: Option<Correlation>,
        schedule: Schedule,
    ) -> Arc<Self> {
        let claim = Claim::new(request.name.clone(), request.holder.clone(), request.grant);
        Arc::new(Self {
            shared: Arc::clone(shared),
            claim,
            correlation,
            attempt_timeout: schedule.attempt_timeout,
            progress: Mutex::default(),
        })
    }

    fn claim(&self) -> Claim {
        self.claim.clone().with_handle(self.lock().handle)
    }

    fn completed(&self, result: &Result<Acquired>) {
        let mut progress = self.lock();
        progress.in_flight -= 1;
        match result {
            Ok(Acquired::Granted(grant)) => {
                progress.maybe_granted = true;
                progress.handle = grant.handle;
            }
            Ok(Acquired::Held { .. } | Acquired::Spent) => {}
            Err(error) => {
                progress.maybe_granted |= matches!(error.kind(), ErrorKind::Indeterminate | ErrorKind::Internal);
            }
        }
        self.release_if_unclaimed(progress);
    }

    fn abandon(&self) {
        let mut progress = self.lock();
        progress.abandoned = true;
        self.release_if_unclaimed(progress);
    }

    fn release_if_unclaimed(&self, mut progress: MutexGuard<'_, Progress>) {
        let unclaimed = progress.abandoned && !progress.claimed;
        if unclaimed && progress.in_flight == 0 && std::mem::take(&mut progress.maybe_granted) {
            drop(progress);
            let request = ReleaseRequest::new(self.claim());
            let timeout = self.attempt_timeout;
            self.shared.release_in_background(PendingRelease {
                request,
                token: None,
                timeout,
                correlation: self.correlation.clone(),
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
