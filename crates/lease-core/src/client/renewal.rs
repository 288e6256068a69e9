//! The one task that renews all leases of a client, and latches their deadlines.
//!
//! The task never waits for the store: it queues the renewals that are due, and their answers call [`Shared::answered`]. So its
//! timer, by which losses are noticed in time (S5), depends on nothing but the clock.

mod timer_queue;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::Notify;
use tracing::field::Empty;

use self::timer_queue::{Step, TimerQueue, first_of};
use super::spans;
use crate::{
    Capabilities, Clock, Error, ErrorKind, FencingToken, LeaseName, LeaseStore, LossReason, Moment, Renewed, Result,
    batch::{Answered, Batcher, Contact, Context, LARGEST_BATCH, Renew, Request, catch_panic},
    grant::{FailedRenewal, Plan, Tenure},
    runtime::Runtime,
    store::Subscriber,
};

/// A timer that fires this late shows that the runtime is blocked, or that the machine was suspended.
const LATE: Duration = Duration::from_secs(1);
/// An answer is overdue this much after the request should have been given up.
const OVERDUE: Duration = Duration::from_millis(5);
/// A client that holds a lease for this long subscribes to the store's revocation feed. A client that only acquires and
/// releases would receive hints about its own releases, and nothing else.
const SUBSCRIBE_AFTER: Duration = Duration::from_secs(1);
/// The shortest time between two renewals, whatever the store reports as remaining.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(5);

pub(super) struct Renewals(Arc<Shared>);

/// Shared by the task, the answers to renewals, and the revocation feed.
struct Shared {
    store: Arc<dyn LeaseStore>,
    clock: Arc<dyn Clock>,
    runtime: Runtime,
    batcher: Batcher<Renew>,
    state: Mutex<State>,
    /// The first timer has changed to an earlier moment.
    changed: Notify,
}

#[derive(Default)]
struct State {
    timers: TimerQueue,
    /// Whether the task has subscribed to the store's revocation feed.
    is_subscribed: bool,
    task: Task,
    phase: Phase,
}

#[derive(Default)]
enum Task {
    #[default]
    NotRunning,
    /// Sleeping until then, or until there is a timer.
    Running { wakes_at: Option<Moment> },
}

#[derive(Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Renewing,
    /// Deadlines only.
    NotRenewing,
    Ended,
}

impl Renewals {
    pub(super) fn new(
        store: Arc<dyn LeaseStore>,
        clock: Arc<dyn Clock>,
        runtime: Runtime,
        contact: Arc<Contact>,
    ) -> Self {
        let Capabilities { calls_at_once, largest_call, .. } = store.capabilities();
        // Renewals are not urgent: the fewer calls the better, unless calls are small.
        let calls_at_once = if largest_call < LARGEST_BATCH { calls_at_once } else { 1 };
        let batcher = Batcher::new(Context {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            runtime: runtime.clone(),
            contact,
            calls_at_once,
            largest_call,
            pacing: None,
        });
        Self(Arc::new(Shared { store, clock, runtime, batcher, state: Mutex::default(), changed: Notify::new() }))
    }

    /// Takes charge of a tenure. The first one starts the task.
    pub(super) fn add(&self, tenure: &Arc<Tenure>, plan: Plan) -> Result<()> {
        let mut state = self.0.lock();
        if state.phase != Phase::Renewing {
            return Err(Error::closed("acquire"));
        }
        let (step, at) = first_of(plan, self.0.clock.now());
        state.timers.insert(tenure, step, at);
        if matches!(state.task, Task::NotRunning) {
            state.task = Task::Running { wakes_at: None };
            let running = Running { shared: Arc::clone(&self.0) };
            drop(state);
            self.0.runtime.spawn(running.run());
            state = self.0.lock();
        }
        self.0.wake_before(&state, at);
        Ok(())
    }

    /// Removes a tenure that has ended. Its renewals that are still queued are not sent (S12).
    pub(super) fn remove(&self, tenure: &Tenure) {
        self.0.lock().timers.remove(tenure.number);
    }

    /// Renews now, whatever the plan says.
    pub(super) async fn renew(&self, tenure: &Arc<Tenure>) -> Result<()> {
        if let Some(lost) = tenure.loss() {
            return Err(lost.into());
        }
        let (shared, subject, holding) = (Arc::clone(&self.0), Arc::clone(tenure), Arc::clone(tenure));
        let request = tenure.renew_request();
        let revision = request.metadata.as_ref().map(|update| update.revision);
        let (now, valid_until) = (self.0.clock.now(), tenure.valid_until());
        let Some(timeout) = tenure.schedule.timeout(now, valid_until) else {
            let left = valid_until.saturating_since(now);
            let message = format!("too little time left: the lease ends in {left:?}");
            return Err(Error::new(ErrorKind::Unavailable, "renew", message).with_lease(tenure.name()));
        };
        let request = Request::new(request, now, timeout).while_wanted(move || holding.is_held());
        let on_answer = move |answered: &Answered<Renewed>| shared.answered(&subject, None, revision, answered);
        let span = tracing::debug_span!(target: "lease", "lease.renew", otel.kind = "client", otel.status_code = Empty, error.type = Empty,
            lease.store = self.0.store.capabilities().store, lease.name = %tenure.name(), lease.holder = %tenure.claim.holder,
            lease.token = tenure.token.get(), correlation.id = spans::id(tenure.correlation.as_ref()));
        let renewing = async {
            let answered = self.0.batcher.submit(request, on_answer).await;
            match answered.result {
                Ok(Renewed::Extended { .. }) if tenure.is_held() => Ok(()),
                Ok(_) => Err(tenure.lost().await.into()),
                Err(error) => tenure.loss().map_or(Err(error), |lost| Err(lost.into())),
            }
        };
        spans::within(span, renewing).await
    }

    /// Returns for how long the task has not done what is due, if that is longer than twice the shortest interval of a lease. It is
    /// never so while nothing is due.
    pub(super) fn overdue(&self, now: Moment) -> Option<Duration> {
        let state = self.0.lock();
        let overdue = now.saturating_since(state.timers.first()?);
        let shortest = state.timers.tenures().map(|tenure| tenure.schedule.interval).min()?;
        (overdue > shortest * 2).then_some(overdue)
    }

    /// Returns all tenures.
    pub(super) fn tenures(&self) -> Vec<Arc<Tenure>> {
        self.0.lock().timers.tenures().map(Arc::clone).collect()
    }

    /// Stops renewing: all leases expire. Returns the latest deadline of a lease that a scope holds.
    pub(super) fn stop_renewing(&self) -> Moment {
        let mut state = self.0.lock();
        state.phase = Phase::NotRenewing;
        let scoped = state.timers.tenures().filter(|tenure| tenure.is_scoped());
        let last = scoped.map(|tenure| tenure.valid_until()).max();
        last.unwrap_or_else(|| self.0.clock.now())
    }

    /// Removes the tenures that no scope holds, and returns them.
    pub(super) fn take_unscoped(&self) -> Vec<Arc<Tenure>> {
        let mut state = self.0.lock();
        let unscoped: Vec<_> = state.timers.tenures().filter(|tenure| !tenure.is_scoped()).map(Arc::clone).collect();
        for tenure in &unscoped {
            state.timers.remove(tenure.number);
        }
        unscoped
    }

    /// Ends the task. Removes all tenures, and returns them.
    pub(super) fn end(&self) -> Vec<Arc<Tenure>> {
        let mut state = self.0.lock();
        state.phase = Phase::Ended;
        self.0.changed.notify_one();
        state.timers.take_all()
    }
}

impl Drop for Renewals {
    fn drop(&mut self) {
        self.end();
    }
}

/// A renewal that is due.
struct DueRenewal {
    tenure: Arc<Tenure>,
    /// When the renewal was sent whose answer is overdue, if it is.
    overdue: Option<Moment>,
    sent: u64,
    hung: u32,
    timeout: Duration,
}

impl Shared {
    /// Does everything that is due. Returns when to wake up next.
    fn act(self: &Arc<Self>) -> Option<Moment> {
        let now = self.clock.now();
        let mut state = self.lock();
        let late = state.timers.first().map(|at| now.saturating_since(at)).filter(|late| *late >= LATE);
        let (mut renewals, mut ended) = (Vec::new(), Vec::new());
        for number in state.timers.due(now) {
            let renewing = state.phase == Phase::Renewing;
            let Some(entry) = state.timers.get_mut(number) else { continue };
            let tenure = Arc::clone(&entry.tenure);
            let valid_until = tenure.valid_until();
            // With too little time left, only the answer to a renewal in flight can still save the lease.
            let timeout = tenure.schedule.timeout(now, valid_until);
            if now >= valid_until {
                // It stays without a timer until its loss is latched below: an answer may yet come before that, and set one.
                ended.push(tenure);
            } else if let Some(timeout) = timeout.filter(|_| renewing && entry.step != Step::Deadline) {
                let overdue = (entry.step == Step::Overdue).then_some(entry.sent_at);
                entry.sent += 1;
                entry.sent_at = now;
                entry.hung += u32::from(overdue.is_some());
                renewals.push(DueRenewal { tenure, overdue, sent: entry.sent, hung: entry.hung, timeout });
                state.timers.set(number, Step::Overdue, (now + timeout + OVERDUE).min(valid_until));
            } else {
                state.timers.set(number, Step::Deadline, valid_until);
            }
        }
        let subscribes = !state.is_subscribed && state.has_held_for(SUBSCRIBE_AFTER, now);
        state.is_subscribed |= subscribes;
        let subscribes_at = if state.is_subscribed { None } else { Some(now + SUBSCRIBE_AFTER) };
        let wakes_at = state.timers.first().map(|at| subscribes_at.map_or(at, |subscribes_at| subscribes_at.min(at)));
        state.task = Task::Running { wakes_at };
        drop(state);
        if let Some(late) = late {
            tracing::warn!(target: "lease", ?late, "the client's runtime did not run in time: renewals are late, leases may be lost");
        }
        if subscribes {
            let subscriber: Weak<Self> = Arc::downgrade(self);
            // If the store panics, losses are noticed at the next renewal.
            let _ = catch_panic("revocations", || self.store.revocations().subscribe(subscriber));
        }
        // Observers are called below: the lock is not held.
        for tenure in ended.iter().filter(|tenure| !tenure.is_held()) {
            self.lock().timers.remove(tenure.number);
        }
        for renewal in renewals {
            self.send(renewal, now);
        }
        wakes_at
    }

    fn send(self: &Arc<Self>, renewal: DueRenewal, now: Moment) {
        let DueRenewal { tenure, overdue, sent, hung, timeout } = renewal;
        if let Some(sent) = overdue {
            let error =
                Error::new(ErrorKind::Indeterminate, "renew", "the answer is overdue").with_lease(tenure.name());
            tenure.in_jeopardy(FailedRenewal { error, sent, is_overdue: true });
        }
        let (shared, holding) = (Arc::clone(self), Arc::clone(&tenure));
        let request = tenure.renew_request();
        let revision = request.metadata.as_ref().map(|update| update.revision);
        let request = Request::new(request, now, timeout).after_hanging(hung).while_wanted(move || holding.is_held());
        self.batcher.enqueue(request, move |answered| {
            shared.answered(&tenure, Some(sent), revision, &answered);
        });
    }

    /// Handles the answer to a renewal: the task's, by its count, or one by the application.
    fn answered(&self, tenure: &Tenure, sent: Option<u64>, revision: Option<u64>, answered: &Answered<Renewed>) {
        match &answered.result {
            Ok(Renewed::Extended { remaining }) => {
                let current = tenure.valid_until();
                let mut plan = tenure.schedule.after_renewal(tenure.began, current, answered.sent, *remaining);
                plan.renew_at = plan.renew_at.map(|at| at.max(self.clock.now() + SHORTEST_INTERVAL));
                if tenure.extend(plan, answered.sent, revision) {
                    let mut state = self.lock();
                    if let Some(entry) = state.timers.get_mut(tenure.number) {
                        entry.hung = 0;
                        entry.confirmed = entry.confirmed.max(answered.sent);
                    }
                    self.set(state, tenure, plan);
                }
            }
            Ok(Renewed::Lost(reason)) => {
                tenure.refuse(reason.clone(), answered.sent);
                self.lock().timers.remove(tenure.number);
            }
            Err(_) if self.is_confirmed_since(tenure, answered.sent) => {}
            Err(error) => {
                tenure.in_jeopardy(FailedRenewal { error: error.clone(), sent: answered.sent, is_overdue: false });
                let valid_until = tenure.valid_until();
                let retry_at = tenure.schedule.retry_at(self.clock.now(), valid_until);
                let mut state = self.lock();
                // Otherwise a later renewal is in flight, or none is wanted.
                if let Some(entry) = state.timers.get_mut(tenure.number).filter(|entry| sent == Some(entry.sent)) {
                    entry.hung += u32::from(answered.hung);
                    self.set(state, tenure, Plan { valid_until, renew_at: Some(retry_at) });
                }
            }
        }
    }

    /// Returns whether a renewal that was sent later has succeeded: the failure of an older one is then no news (L9).
    fn is_confirmed_since(&self, tenure: &Tenure, sent: Moment) -> bool {
        self.lock().timers.get(tenure.number).is_some_and(|entry| entry.confirmed > sent)
    }

    fn set(&self, mut state: MutexGuard<'_, State>, tenure: &Tenure, plan: Plan) {
        let (step, at) = first_of(plan, self.clock.now());
        state.timers.set(tenure.number, step, at);
        self.wake_before(&state, at);
    }

    /// Makes sure that the task wakes up at this moment, if not earlier.
    fn wake_before(&self, state: &State, at: Moment) {
        if let Task::Running { wakes_at } = state.task
            && wakes_at.is_none_or(|wakes_at| at < wakes_at)
        {
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for Shared {
    /// Renews at once what is renewed automatically; the answer decides. A renewal in flight is about to decide anyway.
    fn may_have_ended(&self, name: &LeaseName, token: FencingToken) {
        let now = self.clock.now();
        let mut state = self.lock();
        for number in state.timers.numbers_of(name) {
            let entry = state.timers.get(number);
            if entry.is_some_and(|entry| entry.tenure.token <= token && entry.step == Step::Renew) {
                state.timers.set(number, Step::Renew, now);
                self.wake_before(&state, now);
            }
        }
    }
}

impl State {
    /// Returns whether the oldest lease has been held for this long.
    fn has_held_for(&self, duration: Duration, now: Moment) -> bool {
        self.timers.tenures().next().is_some_and(|tenure| tenure.began + duration <= now)
    }
}

/// The task. If it ends before its client, because the runtime has ended, nothing renews any more: all leases are lost.
struct Running {
    shared: Arc<Shared>,
}

impl Running {
    async fn run(self) {
        loop {
            let wakes_at = self.shared.act();
            let timer = async {
                match wakes_at {
                    Some(wakes_at) => self.shared.clock.sleep_until(wakes_at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.shared.changed.notified() => {}
                () = timer => {}
            }
            if self.shared.lock().phase == Phase::Ended {
                return;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let orphans = {
            let mut state = self.shared.lock();
            (state.task, state.is_subscribed) = (Task::NotRunning, false);
            state.timers.take_all()
        };
        for tenure in orphans {
            tenure.lose(LossReason::ClientGone);
        }
    }
}

impl fmt::Debug for Renewals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewals").field("leases", &self.0.lock().timers.len()).finish_non_exhaustive()
    }
}
