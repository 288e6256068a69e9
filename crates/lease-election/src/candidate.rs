//! A candidate, as its application has it.

use std::{
    fmt,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use lease_core::{Clock, Error, ErrorKind, HolderId, LeaseName, Result};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
};

use crate::{
    CandidateOptions, Election, Health, HealthCheck, Leader, LeadershipChanges, Term,
    campaign::{Campaign, Command, Shared, Standing, Status, not_leading},
    registration,
};

/// A candidate of an election. Cheap to clone; when the last clone is dropped, it drains, releases and withdraws in the
/// background, as by [`Candidate::stop`].
#[derive(Clone)]
pub struct Candidate(Arc<Inner>);

struct Inner {
    election: Election,
    id: HolderId,
    name: LeaseName,
    options: CandidateOptions,
    shared: Arc<Shared>,
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    check: Mutex<Check>,
}

impl Candidate {
    pub(crate) fn new(election: Election, options: CandidateOptions) -> Result<Self> {
        let id = options.id.clone().unwrap_or_else(|| election.client().holder().clone());
        let name = election.candidate_name(&id)?;
        registration::card(&options, &Health::healthy(), false)?;
        let shared = Arc::new(Shared {
            status: watch::Sender::new(Status::NotStarted),
            leadership: watch::Sender::new(None),
            standing: watch::Sender::new(Standing::NeverLed),
            health: watch::Sender::new(Health::presumed()),
            leads: watch::Sender::new(None),
        });
        let start = !options.start_later;
        election.take_id(&id)?;
        let candidate = Self(Arc::new(Inner {
            election,
            id,
            name,
            options,
            shared,
            commands: Mutex::default(),
            check: Mutex::default(),
        }));
        if start {
            candidate.start()?;
        }
        Ok(candidate)
    }

    /// The election in which it stands.
    #[must_use]
    pub fn election(&self) -> &Election {
        &self.0.election
    }

    /// Who it is to others.
    #[must_use]
    pub fn id(&self) -> &HolderId {
        &self.0.id
    }

    /// Begins to campaign, if it does not already.
    ///
    /// # Errors
    ///
    /// When it is called outside a tokio runtime.
    pub fn start(&self) -> Result<()> {
        let runtime = self.0.election.client().runtime()?.clone();
        let mut running = self.commands();
        if running.is_some() && *self.0.shared.status.borrow() == Status::Running {
            return Ok(());
        }
        let (sender, receiver) = mpsc::channel(4);
        *running = Some(sender);
        let Inner { election, id, name, options, shared, .. } = &*self.0;
        shared.status.send_replace(Status::Running);
        // The calls of `lead` that ended with the stop before count no more.
        shared.leads.send_modify(|leads| *leads = leads.filter(|leads| *leads > 0));
        let campaign = Campaign::new(election.clone(), id.clone(), options.clone(), Arc::clone(shared), receiver);
        runtime.spawn(campaign.run(name.clone()));
        Ok(())
    }

    /// Stops in order: the work gets the grace to end, then the leadership is released and the candidate withdraws. Does
    /// nothing if it does not run; it may be started again.
    ///
    /// # Errors
    ///
    /// None at present: what the store could not be told ends with the lease duration.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the stop goes on in the background.
    pub async fn stop(&self) -> Result<()> {
        match self.order(|done| Command::Stop { done }).await {
            Err(error) if error.kind() == ErrorKind::Closed => Ok(()),
            outcome => outcome,
        }
    }

    /// Whether it leads: at most one candidate of a group says so at any time (see `lease-core` for what that rests on).
    /// Local, no I/O. Work that asks only now and then may act too late; [`Candidate::lead`] does not.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leadership().is_some()
    }

    /// Its term, while it leads.
    #[must_use]
    pub fn leadership(&self) -> Option<Term> {
        self.0.shared.leadership.borrow().clone().filter(Term::is_held)
    }

    /// Waits until this candidate leads, and returns its term. At once if it leads already.
    ///
    /// For what begins with the leadership and is not stopped by its end; what only the leader may do belongs into
    /// [`Candidate::lead`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] when the candidate stops before it leads, or has stopped. One that was not started yet is
    /// waited for.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait_for_leadership(&self) -> Result<Term> {
        let mut terms = self.0.shared.leadership.subscribe();
        let mut statuses = self.0.shared.status.subscribe();
        loop {
            if let Some(term) = terms.borrow_and_update().clone().filter(Term::is_held) {
                return Ok(term);
            }
            tokio::select! {
                biased;
                // The senders live as long as `self`.
                _ = terms.changed() => {}
                _ = statuses.wait_for(|status| *status == Status::Stopped) => return Err(not_running()),
            }
        }
    }

    /// Who leads the group now.
    ///
    /// # Errors
    ///
    /// When the store cannot be asked.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn current_leader(&self) -> Result<Option<Leader>> {
        self.0.election.current_leader().await
    }

    /// Runs `work` while this candidate leads, every time that it wins, until it is stopped. This is the way to do what
    /// only the leader may do.
    ///
    /// * The work is told of jeopardy ([`Term::lease`], its state) and of draining ([`Term::draining`]): a step-down, a
    ///   stop, or renewals that keep failing with only the grace left. After the grace it is dropped.
    /// * At a definite loss, or at the deadline, it is dropped at once.
    /// * Only after it has ended is the leadership released (S17): nobody else wins before.
    /// * Work that ends by itself gives the leadership up, so that others may have it.
    ///
    /// What the work needs is cloned for each term:
    ///
    /// ```
    /// # async fn dispatch(queue: std::sync::Arc<str>, term: u64) {}
    /// # fn example(candidate: lease_election::Candidate, queue: std::sync::Arc<str>) {
    /// # use lease_election::Term;
    /// tokio::spawn(async move {
    ///     candidate
    ///         .lead(|term: Term| {
    ///             let queue = queue.clone();
    ///             async move { dispatch(queue, term.token().get()).await }
    ///         })
    ///         .await;
    /// });
    /// # }
    /// ```
    ///
    /// Dropping takes effect at the next `.await` of the work. Work that never yields cannot be stopped, and writes on when
    /// another one leads: it must check [`Term::is_held`] between its steps, and send the token with every write. Let
    /// blocking work run in `spawn_blocking`, wait for it, and do the same. Work that cannot be dropped within the lease
    /// duration keeps the group without a leader until its lease has run out.
    ///
    /// # Panics
    ///
    /// When the work does. The leadership is released, and the panic goes to the caller.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the work, and gives the leadership up. From then on, as after a panic, the candidate campaigns only
    /// while there is a call of `lead` again: nobody leads without work.
    pub async fn lead<W, F>(&self, mut work: W)
    where
        W: FnMut(Term) -> F,
        F: Future<Output = ()>,
    {
        let shared = Arc::clone(&self.0.shared);
        let _leads = Leads::begin(&shared);
        let mut terms = shared.leadership.subscribe();
        let mut statuses = shared.status.subscribe();
        loop {
            let term = terms.borrow_and_update().clone();
            if let Some((term, scope)) = term.and_then(|term| term.enter().map(|scope| (term, scope))) {
                {
                    let mut work = pin!(term.lease().while_held(work(term.clone())));
                    tokio::select! {
                        biased;
                        () = term.was_cut() => {}
                        _ = &mut work => {}
                    }
                }
                // The work has ended: now the term may.
                drop(scope);
            }
            tokio::select! {
                biased;
                changed = terms.changed() => if changed.is_err() {
                    return;
                },
                _ = statuses.wait_for(|status| *status == Status::Stopped) => return,
            }
        }
    }

    /// Gives the leadership up, in order, and does not campaign for the time `stay_away`. If it does not lead, it only
    /// stays away.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] when it does not run; otherwise as [`Lease::release`](lease_core::Lease::release).
    ///
    /// # Cancel safety
    ///
    /// Once polled, the step-down goes on in the background.
    pub async fn step_down(&self, stay_away: Duration) -> Result<()> {
        self.order(|done| Command::StepDown { stay_away, done }).await
    }

    /// Gives the leadership up in favour of one candidate: for twice the retry interval nobody else can win, afterwards
    /// everybody.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Lost`] when this candidate does not lead; [`ErrorKind::Closed`] when it does not run; otherwise as
    /// [`Lease::hand_over`](lease_core::Lease::hand_over).
    ///
    /// # Cancel safety
    ///
    /// Once polled, the hand-over goes on in the background.
    pub async fn hand_over_to(&self, candidate: HolderId) -> Result<()> {
        if !self.is_leader() {
            return Err(not_leading());
        }
        self.order(|done| Command::HandOver { to: candidate, done }).await
    }

    /// Says how well it is. Below the minimum of the election it does not campaign, and steps down.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the details, with the candidate's metadata, are too large or have control characters. The
    /// score counts all the same; the details are not published.
    pub fn set_health(&self, health: impl Into<Health>) -> Result<()> {
        let health = health.into();
        let published = registration::card(&self.0.options, &health, false);
        self.0.shared.set_health(health);
        published.map(drop).map_err(Error::from)
    }

    /// Lets a check say how well it is, once in each interval, until [`Candidate::stop_watching_health`], another check, or
    /// the drop of the last handle of the candidate. A check that takes longer than the interval counts as unhealthy. One that
    /// panics, or whose runtime ends, is not asked again: the candidate is unhealthy until somebody else says how it is.
    ///
    /// Where nobody has said yet how it is, a candidate that does not lead is unhealthy until the first answer. With
    /// [`CandidateOptions::with_start_later`] it cannot win before that on any account.
    ///
    /// ```
    /// # async fn example(candidate: lease_election::Candidate) -> lease_core::Result<()> {
    /// # use std::time::Duration;
    /// candidate.watch_health(Duration::from_secs(5), || async { std::fs::exists("/var/lib/queue").unwrap_or(false) })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the interval is zero, or it is called outside a tokio runtime.
    pub fn watch_health(&self, interval: Duration, check: impl HealthCheck) -> Result<()> {
        let runtime = Handle::try_current().map_err(|error| {
            Error::new(ErrorKind::Invalid, "check health", "called outside a tokio runtime: call it within one")
                .with_source(error)
        })?;
        if interval.is_zero() {
            let message = "the interval of a health check must be longer than zero";
            return Err(Error::new(ErrorKind::Invalid, "check health", message));
        }
        let (candidate, clock) = (Arc::downgrade(&self.0), Arc::clone(self.0.election.client().clock()));
        let mut running = self.0.check();
        let number = running.end();
        if !self.is_leader() {
            self.0.shared.await_health();
        }
        let task = runtime.spawn(async move {
            let checking = Checking { candidate, number };
            loop {
                let next = clock.now() + interval;
                let health = tokio::select! {
                    biased;
                    health = check.check() => health,
                    () = clock.sleep_until(next) => {
                        Health::unhealthy().with_detail("check", format!("no answer within {interval:?}"))
                    }
                };
                if !checking.says(health) {
                    return;
                }
                clock.sleep_until(next).await;
            }
        });
        running.task = Some(task.abort_handle());
        Ok(())
    }

    /// Ends the check of [`Candidate::watch_health`]. What was said last counts on. Does nothing if there is none.
    pub fn stop_watching_health(&self) {
        self.0.check().end();
    }

    /// The changes of leadership as this candidate sees them: the current state first, then the latest one after each
    /// change. Whoever is slow misses what lies in between, never the last state.
    ///
    /// # Errors
    ///
    /// When the client is closed, or it is called outside a tokio runtime.
    pub fn changes(&self) -> Result<LeadershipChanges> {
        LeadershipChanges::new(&self.0.election, Some(self.0.shared.standing.subscribe()))
    }

    async fn order(&self, command: impl FnOnce(oneshot::Sender<Result<()>>) -> Command) -> Result<()> {
        let commands = self.commands().clone().ok_or_else(not_running)?;
        let (done, outcome) = oneshot::channel();
        commands.send(command(done)).await.map_err(|_| not_running())?;
        outcome.await.unwrap_or_else(|_| Err(not_running()))
    }

    fn commands(&self) -> MutexGuard<'_, Option<mpsc::Sender<Command>>> {
        self.0.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id is free for another candidate as soon as the last handle is gone: its card is released before that of the next one is
/// published, or runs out.
impl Drop for Inner {
    fn drop(&mut self) {
        self.election.give_id_back(&self.id);
    }
}

impl Inner {
    fn check(&self) -> MutexGuard<'_, Check> {
        self.check.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_running() -> Error {
    Error::new(ErrorKind::Closed, "campaign", "this candidate does not run: start it")
}

/// A call of [`Candidate::lead`].
struct Leads(Arc<Shared>);

impl Leads {
    fn begin(shared: &Arc<Shared>) -> Self {
        shared.leads.send_modify(|leads| *leads = Some(leads.unwrap_or(0) + 1));
        Self(Arc::clone(shared))
    }
}

impl Drop for Leads {
    fn drop(&mut self) {
        self.0.leads.send_modify(|leads| *leads = leads.map(|leads| leads - 1));
    }
}

/// The health check of a candidate.
#[derive(Default)]
struct Check {
    /// How many there were before.
    number: u64,
    task: Option<AbortHandle>,
}

impl Check {
    /// Ends it. Returns the number of the next one.
    fn end(&mut self) -> u64 {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.number += 1;
        self.number
    }
}

/// The right of a check to say how well its candidate is, until it is replaced. If the check ends before that, nobody knows any
/// more.
struct Checking {
    candidate: Weak<Inner>,
    number: u64,
}

impl Checking {
    /// Whether it may go on.
    fn says(&self, health: Health) -> bool {
        let Some(inner) = self.candidate.upgrade() else { return false };
        let check = inner.check();
        let is_current = check.number == self.number;
        if is_current {
            inner.shared.set_health(health);
        }
        is_current
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        let health = Health::unhealthy().with_detail("check", "it has ended, by a panic or with its runtime");
        if let Some(inner) = self.candidate.upgrade()
            && self.says(health)
        {
            tracing::error!(target: "lease", candidate = %inner.id, "a health check has ended, by a panic or with its runtime");
        }
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("id", &self.0.id)
            .field("status", &*self.0.shared.status.borrow())
            .field("standing", &*self.0.shared.standing.borrow())
            .finish_non_exhaustive()
    }
}
