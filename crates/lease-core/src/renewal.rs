//! The one task that renews all leases of a client, and sees to it that every loss is told in time.
//!
//! The task never waits for the store: it sends what is due through the [`Lanes`], and answers come back by a call to
//! [`Shared::answered`]. So its timer, which also latches the deadlines (S5), depends on nothing but the clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::Notify;
use tracing::Instrument;

use crate::{
    Clock, Error, ErrorKind, FencingToken, LeaseName, LeaseStore, LossReason, Moment, Renewed, Result,
    batch::{Answered, Errand, LARGEST_BATCH, Lanes, Renew, Route, unwinding},
    core::closed,
    home::Home,
    revocations::Subscriber,
    schedule::Plan,
    tenure::Tenure,
};

/// A timer that comes this late says that the runtime is blocked, or that the machine was suspended.
const LATE: Duration = Duration::from_secs(1);

/// Renewals that are due within this part of their interval go together with those that are due now, as many as fill the
/// batch: what goes later need not be queued now.
const EARLY: u32 = 16;
/// But no earlier than this.
const EARLIEST: Duration = Duration::from_secs(1);
/// An answer is overdue this much after the lane should have given it up.
const OVERDUE: Duration = Duration::from_millis(5);
/// A client that holds a lease for this long listens to what its store tells holders. Who only comes and goes would be told
/// of its own releases, each of them, and of nothing else.
const SETTLED: Duration = Duration::from_secs(1);
/// The shortest time between two renewals, whatever a store says is left.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(5);

pub(crate) struct Renewals(Arc<Shared>);

struct Shared {
    store: Arc<dyn LeaseStore>,
    clock: Arc<dyn Clock>,
    home: Home,
    lane: Lanes<Renew>,
    agenda: Mutex<Agenda>,
    /// The next entry is earlier than the task knows.
    changed: Notify,
}

/// What is to be done, and when.
#[derive(Default)]
struct Agenda {
    /// By the numbers of the tenures.
    entries: BTreeMap<u64, Entry>,
    times: BTreeSet<(Moment, u64)>,
    names: BTreeSet<(LeaseName, u64)>,
    /// Whether the task has asked the store for its revocations.
    listens: bool,
    task: Task,
    phase: Phase,
}

struct Entry {
    tenure: Arc<Tenure>,
    at: Moment,
    step: Step,
    /// How many renewals were sent.
    sent: u64,
    /// How many of them hung, one after the other.
    hung: u32,
    /// When the last one that succeeded was sent, or what brought the grant.
    confirmed: Moment,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A renewal is due.
    Renew,
    /// The answer to a renewal is overdue.
    Overdue,
    /// The lease is lost.
    Deadline,
}

#[derive(Default)]
enum Task {
    #[default]
    NotRunning,
    /// Sleeping until then, or until something is entered.
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
    pub(crate) fn new(store: Arc<dyn LeaseStore>, clock: Arc<dyn Clock>, home: Home) -> Self {
        // They are in no hurry: the fewer calls the better.
        let lane = Lanes::new(Route {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            home: home.clone(),
            calls_at_once: 1,
            crowd: None,
        });
        Self(Arc::new(Shared { store, clock, home, lane, agenda: Mutex::default(), changed: Notify::new() }))
    }

    /// Takes charge of a tenure. With the first one the task begins.
    pub(crate) fn add(&self, tenure: &Arc<Tenure>, plan: Plan) -> Result<()> {
        let mut agenda = self.0.lock();
        if agenda.phase != Phase::Renewing {
            return Err(closed("acquire"));
        }
        let (step, at) = first_of(plan);
        agenda.insert(Entry { tenure: Arc::clone(tenure), at, step, sent: 0, hung: 0, confirmed: tenure.began });
        if matches!(agenda.task, Task::NotRunning) {
            agenda.task = Task::Running { wakes_at: None };
            let running = Running { shared: Arc::clone(&self.0) };
            drop(agenda);
            self.0.home.spawn(running.run());
            agenda = self.0.lock();
        }
        self.0.wake_before(&agenda, at);
        Ok(())
    }

    /// Is not in charge of a tenure any more, which has ended: renewals of it that are queued are not sent (S12).
    pub(crate) fn remove(&self, tenure: &Tenure) {
        self.0.lock().remove(tenure.number);
    }

    /// Renews now, whatever the plan says.
    pub(crate) async fn renew(&self, tenure: &Arc<Tenure>) -> Result<()> {
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
            return Err(Error::new(ErrorKind::Unavailable, "renew", message));
        };
        let errand = Errand::new(request, now, timeout).while_wanted(move || holding.is_held());
        let outcome = move |answered: &Answered<Renewed>| shared.answered(&subject, None, revision, answered);
        let span = tracing::debug_span!("lease.renew", name = %tenure.name());
        let answered = self.0.lane.submit(errand, outcome).instrument(span).await;
        match answered.result {
            Ok(Renewed::Extended { .. }) if tenure.is_held() => Ok(()),
            Ok(_) => Err(tenure.lost().await.into()),
            Err(error) => tenure.loss().map_or(Err(error), |lost| Err(lost.into())),
        }
    }

    /// From now on leases run out. The last moment at which one that a scope holds may still be held.
    pub(crate) fn stop_renewing(&self) -> Moment {
        let mut agenda = self.0.lock();
        agenda.phase = Phase::NotRenewing;
        let last = agenda.scoped().map(|tenure| tenure.valid_until()).max();
        last.unwrap_or_else(|| self.0.clock.now())
    }

    /// Hands out the tenures that no scope holds, and is not in charge of them any more.
    pub(crate) fn take_unscoped(&self) -> Vec<Arc<Tenure>> {
        let mut agenda = self.0.lock();
        let tenures = agenda.entries.values().map(|entry| Arc::clone(&entry.tenure));
        let unscoped: Vec<_> = tenures.filter(|tenure| !tenure.is_scoped()).collect();
        for tenure in &unscoped {
            agenda.remove(tenure.number);
        }
        unscoped
    }

    /// Ends the task, and hands out all tenures that it had in charge.
    pub(crate) fn end(&self) -> Vec<Arc<Tenure>> {
        let mut agenda = self.0.lock();
        agenda.phase = Phase::Ended;
        self.0.changed.notify_one();
        agenda.clear()
    }
}

impl Drop for Renewals {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    /// Does what is due, and says when to look again.
    fn act(self: &Arc<Self>) -> Option<Moment> {
        let now = self.clock.now();
        let mut agenda = self.lock();
        let (mut renewals, mut ended) = (Vec::new(), Vec::new());
        for number in agenda.due(now) {
            let renewing = agenda.phase == Phase::Renewing;
            let Some(entry) = agenda.entries.get_mut(&number) else { continue };
            let tenure = Arc::clone(&entry.tenure);
            let valid_until = tenure.valid_until();
            // With too little time left, only an answer that is under way can still save it.
            let timeout = tenure.schedule.timeout(now, valid_until);
            if now >= valid_until {
                agenda.remove(number);
                ended.push(tenure);
            } else if let Some(timeout) = timeout.filter(|_| renewing && entry.step != Step::Deadline) {
                entry.sent += 1;
                entry.hung += u32::from(entry.step == Step::Overdue);
                renewals.push((tenure, entry.step, entry.sent, entry.hung, timeout));
                agenda.enter(number, Step::Overdue, (now + timeout + OVERDUE).min(valid_until));
            } else {
                agenda.enter(number, Step::Deadline, valid_until);
            }
        }
        let begins_to_listen = !agenda.listens && agenda.has_settled(now);
        agenda.listens |= begins_to_listen;
        let listens_at = if agenda.listens { None } else { Some(now + SETTLED) };
        let wakes_at = agenda.times.first().map(|(at, _)| listens_at.map_or(*at, |listens_at| listens_at.min(*at)));
        agenda.task = Task::Running { wakes_at };
        drop(agenda);
        if begins_to_listen {
            let subscriber: Weak<Self> = Arc::downgrade(self);
            // Without it losses are noticed by renewals.
            let _ = unwinding("revocations", || self.store.revocations().subscribe(subscriber));
        }
        // Observers are called below: no lock is held.
        for tenure in ended {
            tenure.is_held();
        }
        for (tenure, step, sent, hung, timeout) in renewals {
            if step == Step::Overdue {
                tenure.in_jeopardy(Error::new(ErrorKind::Indeterminate, "renew", "its answer is overdue"));
            }
            let (shared, holding) = (Arc::clone(self), Arc::clone(&tenure));
            let request = tenure.renew_request();
            let revision = request.metadata.as_ref().map(|update| update.revision);
            let errand = Errand::new(request, now, timeout).after_hanging(hung).while_wanted(move || holding.is_held());
            self.lane.enqueue(errand, move |answered| {
                shared.answered(&tenure, Some(sent), revision, &answered);
            });
        }
        wakes_at
    }

    /// The answer to an attempt of the agenda, by its count, or to one by hand.
    fn answered(&self, tenure: &Tenure, attempt: Option<u64>, revision: Option<u64>, answered: &Answered<Renewed>) {
        match &answered.result {
            Ok(Renewed::Extended { remaining }) => {
                let current = tenure.valid_until();
                let mut plan = tenure.schedule.after_renewal(tenure.began, current, answered.sent, *remaining);
                plan.renew_at = plan.renew_at.map(|at| at.max(self.clock.now() + SHORTEST_INTERVAL));
                if tenure.extend(plan, answered.sent, revision) {
                    let mut agenda = self.lock();
                    if let Some(entry) = agenda.entries.get_mut(&tenure.number) {
                        entry.hung = 0;
                        entry.confirmed = entry.confirmed.max(answered.sent);
                    }
                    self.enter(agenda, tenure, plan);
                }
            }
            Ok(Renewed::Lost(reason)) => {
                tenure.lose(reason.clone());
                self.lock().remove(tenure.number);
            }
            Err(_) if self.is_confirmed_since(tenure, answered.sent) => {}
            Err(error) => {
                tenure.in_jeopardy(error.clone());
                let valid_until = tenure.valid_until();
                let retry_at = tenure.schedule.retry_at(self.clock.now(), valid_until);
                let mut agenda = self.lock();
                // Otherwise another one is under way, or none is wanted.
                if let Some(entry) = agenda.entries.get_mut(&tenure.number).filter(|entry| attempt == Some(entry.sent))
                {
                    entry.hung += u32::from(answered.hung);
                    self.enter(agenda, tenure, Plan { valid_until, renew_at: Some(retry_at) });
                }
            }
        }
    }

    /// Whether a renewal has succeeded that was sent later: the failure of an older one is no news (L9).
    fn is_confirmed_since(&self, tenure: &Tenure, sent: Moment) -> bool {
        self.lock().entries.get(&tenure.number).is_some_and(|entry| entry.confirmed > sent)
    }

    fn enter(&self, mut agenda: MutexGuard<'_, Agenda>, tenure: &Tenure, plan: Plan) {
        let (step, at) = first_of(plan);
        agenda.enter(tenure.number, step, at);
        self.wake_before(&agenda, at);
    }

    /// Sees to it that the task acts at this moment, if not earlier.
    fn wake_before(&self, agenda: &Agenda, at: Moment) {
        if let Task::Running { wakes_at } = agenda.task
            && wakes_at.is_none_or(|wakes_at| at < wakes_at)
        {
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Agenda> {
        self.agenda.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for Shared {
    /// What is renewed anyhow is renewed now, and the answer tells. A renewal that is under way is about to tell.
    fn may_have_ended(&self, name: &LeaseName, token: FencingToken) {
        let now = self.clock.now();
        let mut agenda = self.lock();
        for number in agenda.numbers_of(name) {
            let entry = agenda.entries.get(&number);
            if entry.is_some_and(|entry| entry.tenure.token <= token && entry.step == Step::Renew) {
                agenda.enter(number, Step::Renew, now);
                self.wake_before(&agenda, now);
            }
        }
    }
}

/// What comes first.
fn first_of(plan: Plan) -> (Step, Moment) {
    match plan.renew_at {
        Some(renew_at) if renew_at < plan.valid_until => (Step::Renew, renew_at),
        _ => (Step::Deadline, plan.valid_until),
    }
}

impl Agenda {
    fn insert(&mut self, entry: Entry) {
        let number = entry.tenure.number;
        self.times.insert((entry.at, number));
        self.names.insert((entry.tenure.name().clone(), number));
        self.entries.insert(number, entry);
    }

    fn scoped(&self) -> impl Iterator<Item = &Tenure> {
        self.entries.values().map(|entry| &*entry.tenure).filter(|tenure| tenure.is_scoped())
    }

    /// The tenures of this name.
    fn numbers_of(&self, name: &LeaseName) -> Vec<u64> {
        self.names.range((name.clone(), 0)..=(name.clone(), u64::MAX)).map(|(_, number)| *number).collect()
    }

    /// Whether a lease is held for longer than it takes to do something small.
    fn has_settled(&self, now: Moment) -> bool {
        self.entries.values().next().is_some_and(|entry| entry.tenure.began + SETTLED <= now)
    }

    /// Takes from `times` what is due, and with it so many of the renewals that are due soon that its last batch is full.
    fn due(&mut self, now: Moment) -> Vec<u64> {
        let mut due = Vec::new();
        for &(at, number) in self.times.range(..=(now + EARLIEST, u64::MAX)) {
            if at > now {
                if due.len().is_multiple_of(LARGEST_BATCH) {
                    break;
                }
                let early = self.entries.get(&number).filter(|entry| entry.step == Step::Renew);
                if early.is_none_or(|entry| at > now + entry.tenure.schedule.interval / EARLY) {
                    continue;
                }
            }
            due.push((at, number));
        }
        for time in &due {
            self.times.remove(time);
        }
        due.into_iter().map(|(_, number)| number).collect()
    }

    fn enter(&mut self, number: u64, step: Step, at: Moment) {
        if let Some(entry) = self.entries.get_mut(&number) {
            self.times.remove(&(entry.at, number));
            self.times.insert((at, number));
            (entry.step, entry.at) = (step, at);
        }
    }

    fn remove(&mut self, number: u64) {
        if let Some(entry) = self.entries.remove(&number) {
            self.times.remove(&(entry.at, number));
            self.names.remove(&(entry.tenure.name().clone(), number));
        }
    }

    fn clear(&mut self) -> Vec<Arc<Tenure>> {
        self.times.clear();
        self.names.clear();
        std::mem::take(&mut self.entries).into_values().map(|entry| entry.tenure).collect()
    }
}

/// The task. When it ends before its client, because its runtime is gone, nobody renews any more: all leases are lost.
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
                () = timer => {
                    let late = wakes_at.map(|wakes_at| self.shared.clock.now().saturating_since(wakes_at));
                    if let Some(late) = late.filter(|late| *late >= LATE) {
                        tracing::warn!(target: "lease", ?late, "the client's runtime did not run in time: renewals are late, leases may be lost");
                    }
                }
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
            let mut agenda = self.shared.lock();
            (agenda.task, agenda.listens) = (Task::NotRunning, false);
            agenda.clear()
        };
        for tenure in orphans {
            tenure.lose(LossReason::ClientGone);
        }
    }
}

impl fmt::Debug for Renewals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewals").field("leases", &self.0.lock().entries.len()).finish_non_exhaustive()
    }
}
