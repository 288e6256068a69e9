//! A candidate, and its handle for the application.

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
    sync::{mpsc, oneshot},
    task::AbortHandle,
};

use crate::{
    CandidateOptions, Election, Health, HealthCheck, Leader, LeadershipChanges, Term,
    campaign::{Campaign, Command, not_leading},
    registration,
    state::{CandidateState, Status},
};

/// A candidate of an election. It is cheap to clone. When the last clone is dropped, the candidate stops in the background, as
/// with [`Candidate::stop`].
#[derive(Clone)]
pub struct Candidate(Arc<Inner>);

struct Inner {
    election: Election,
    id: HolderId,
    name: LeaseName,
    options: CandidateOptions,
    state: Arc<CandidateState>,
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    check: Mutex<Check>,
}

impl Election {
    /// Creates a candidate. It campaigns at once, unless [`CandidateOptions::start_later`] is set.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when its id is too long, or used by another candidate of this election in this process; when its
    /// metadata is too large; or when this is called outside a tokio runtime. [`ErrorKind::Closed`] when the runtime of the
    /// client has ended.
    pub fn candidate(&self, options: CandidateOptions) -> Result<Candidate> {
        Candidate::new(self.clone(), options)
    }
}

impl Candidate {
    fn new(election: Election, options: CandidateOptions) -> Result<Self> {
        let id = options.id.clone().unwrap_or_else(|| election.client().holder().clone());
        let name = election.candidate_name(&id)?;
        registration::metadata(&options, &Health::healthy(), false)?;
        let state = Arc::new(CandidateState::new());
        let start = !options.start_later;
        election.reserve_id(&id)?;
        let candidate = Self(Arc::new(Inner {
            election,
            id,
            name,
            options,
            state,
            commands: Mutex::default(),
            check: Mutex::default(),
        }));
        if start {
            candidate.start()?;
        }
        Ok(candidate)
    }

    /// Returns the election of this candidate.
    #[must_use]
    pub fn election(&self) -> &Election {
        &self.0.election
    }

    /// Returns the id of this candidate.
    #[must_use]
    pub fn id(&self) -> &HolderId {
        &self.0.id
    }

    /// Starts to campaign. Does nothing if the candidate runs already.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when called outside a tokio runtime; [`ErrorKind::Closed`] when the runtime of the client has
    /// ended.
    pub fn start(&self) -> Result<()> {
        let runtime = self.0.election.client().runtime()?.clone();
        let mut running = self.commands();
        if running.is_some() && *self.0.state.status.borrow() == Status::Running {
            return Ok(());
        }
        let (sender, receiver) = mpsc::channel(4);
        *running = Some(sender);
        let Inner { election, id, name, options, state, .. } = &*self.0;
        state.status.send_replace(Status::Running);
        // Calls of `lead` that ended with an earlier stop no longer count.
        state.lead_calls.send_modify(|calls| *calls = calls.filter(|calls| *calls > 0));
        let campaign = Campaign::new(election.clone(), id.clone(), options.clone(), Arc::clone(state), receiver);
        // A runtime that has ended drops a task at once. Otherwise nothing can have ended this one already.
        if runtime.spawn(campaign.run(name.clone())).is_finished() {
            let message = "the runtime of this client has ended: create the client on a runtime that lives longer";
            return Err(Error::new(ErrorKind::Closed, "campaign", message));
        }
        Ok(())
    }

    /// Stops the candidate in order: the work has the grace to end, then the leadership is released and the candidate is
    /// removed from the list of candidates. Does nothing if the candidate does not run. It can be started again.
    ///
    /// # Errors
    ///
    /// None at present. If the store cannot be reached, the leadership and the entry in the list end after the lease duration.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the stop is finished in the background.
    pub async fn stop(&self) -> Result<()> {
        match self.send(|done| Command::Stop { done }).await {
            Err(error) if error.kind() == ErrorKind::Closed => Ok(()),
            outcome => outcome,
        }
    }

    /// Returns whether this candidate leads. At most one candidate of a group leads at any time; the page of [`lease_core`]
    /// says under which conditions. The answer is local, without I/O. Work that checks it only now and then may act too late;
    /// [`Candidate::lead`] prevents that.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leadership().is_some()
    }

    /// Returns the term of this candidate, or `None` if it does not lead.
    #[must_use]
    pub fn leadership(&self) -> Option<Term> {
        self.0.state.leadership.borrow().clone().filter(Term::is_held)
    }

    /// Waits until this candidate leads, and returns its term. Returns at once if it leads already.
    ///
    /// This is for actions that begin with the leadership and need not end with it. Work that only the leader may do belongs
    /// in [`Candidate::lead`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] when the candidate has stopped, or stops before it leads. If it was not started yet, the call
    /// waits for that.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait_for_leadership(&self) -> Result<Term> {
        let mut terms = self.0.state.leadership.subscribe();
        let mut statuses = self.0.state.status.subscribe();
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

    /// Returns the leader of the group, or `None` if there is none; see [`Election::current_leader`].
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn current_leader(&self) -> Result<Option<Leader>> {
        self.0.election.current_leader().await
    }

    /// Runs `work` while this candidate leads, in every term that it wins, until the candidate is stopped. Use it for all work
    /// that only the leader may do.
    ///
    /// * The work can observe jeopardy, through the state of [`Term::lease`], and draining, through [`Term::draining`].
    ///   Draining begins with a step-down, with a stop, or when renewals keep failing and only the grace is left. After the
    ///   grace the work is dropped.
    /// * At a definite loss, or at the deadline of the lease, the work is dropped at once.
    /// * The leadership is released only after the work has ended (S17), so that no other candidate wins before.
    /// * Work that returns gives up the leadership, so that another candidate can win.
    ///
    /// Clone for each term what the work needs:
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
    /// Dropping takes effect at the next `.await` of the work. Work that never yields cannot be stopped, and continues to
    /// write when another candidate leads. It must check [`Term::is_held`] between its steps, and send the token with every
    /// write. Run blocking work in `spawn_blocking`, wait for it, and do the same. If work cannot be dropped within the lease
    /// duration, the group has no leader until the lease expires.
    ///
    /// # Panics
    ///
    /// Panics if the work panics. The leadership is released.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the work, and gives up the leadership. From then on, as after a panic, the candidate
    /// campaigns only while there is another call of `lead`, so that it never leads without work.
    pub async fn lead<W, F>(&self, mut work: W)
    where
        W: FnMut(Term) -> F,
        F: Future<Output = ()>,
    {
        let state = Arc::clone(&self.0.state);
        let _call = LeadCall::begin(&state);
        let mut terms = state.leadership.subscribe();
        let mut statuses = state.status.subscribe();
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
                // The work has ended, so the term may end.
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

    /// Gives up the leadership in order, and does not campaign for the time `stay_away`. A candidate that does not lead only
    /// stops campaigning for that time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] when the candidate does not run; otherwise as for [`Lease::release`](lease_core::Lease::release).
    ///
    /// # Cancel safety
    ///
    /// Once polled, the step-down is finished in the background.
    pub async fn step_down(&self, stay_away: Duration) -> Result<()> {
        self.send(|done| Command::StepDown { stay_away, done }).await
    }

    /// Gives up the leadership in favour of one candidate. For twice the retry interval only that candidate can win;
    /// afterwards every candidate can.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Lost`] when this candidate does not lead; [`ErrorKind::Closed`] when it does not run; otherwise as for
    /// [`Lease::hand_over`](lease_core::Lease::hand_over).
    ///
    /// # Cancel safety
    ///
    /// Once polled, the hand-over is finished in the background.
    pub async fn hand_over_to(&self, candidate: HolderId) -> Result<()> {
        if !self.is_leader() {
            return Err(not_leading());
        }
        self.send(|done| Command::HandOver { to: candidate, done }).await
    }

    /// Sets the health of this candidate. Below the minimum of the election, the candidate does not campaign, and steps down
    /// if it leads (see [`ElectionOptions`](crate::ElectionOptions)).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the details, together with the candidate's metadata, are too large or contain control
    /// characters. The score is set nevertheless; the details are not published.
    pub fn set_health(&self, health: impl Into<Health>) -> Result<()> {
        let health = health.into();
        let published = registration::metadata(&self.0.options, &health, false);
        self.0.state.set_health(health);
        published.map(drop).map_err(Error::from)
    }

    /// Sets the health of this candidate from a check, once per interval, until [`Candidate::stop_watching_health`] is
    /// called, another check replaces it, or the last handle of the candidate is dropped. If the check takes longer than the
    /// interval, the candidate is unhealthy. If the check panics, or its runtime ends, the candidate is unhealthy until its
    /// health is set again.
    ///
    /// The check must not block its thread, as calls of `std::fs` and `std::net` do: the time limit of a check that blocks does not
    /// pass, and the candidate keeps its last health. Put what blocks into [`spawn_blocking`](tokio::task::spawn_blocking).
    ///
    /// If its health was never set, a candidate that does not lead is unhealthy until the check returns for the first time.
    /// With [`CandidateOptions::with_start_later`] it certainly does not win before that.
    ///
    /// ```
    /// # async fn example(candidate: lease_election::Candidate) -> lease_core::Result<()> {
    /// # use std::time::Duration;
    /// candidate.watch_health(Duration::from_secs(5), || async {
    ///     let is_there = || std::fs::exists("/var/lib/queue").unwrap_or(false);
    ///     tokio::task::spawn_blocking(is_there).await.unwrap_or(false)
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the interval is zero, or when called outside a tokio runtime.
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
        let number = running.stop();
        if !self.is_leader() {
            self.0.state.await_health();
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
                if !checking.report(health) {
                    return;
                }
                clock.sleep_until(next).await;
            }
        });
        running.task = Some(task.abort_handle());
        Ok(())
    }

    /// Stops the check of [`Candidate::watch_health`]. The last health stays set. Does nothing if there is no check.
    pub fn stop_watching_health(&self) {
        self.0.check().stop();
    }

    /// Returns the changes of leadership, including those of this candidate: the current state first, then the latest state
    /// after each change. A slow reader misses intermediate states, but never the last one.
    ///
    /// # Errors
    ///
    /// When the client is closed, or when called outside a tokio runtime.
    pub fn changes(&self) -> Result<LeadershipChanges> {
        LeadershipChanges::new(&self.0.election, Some(self.0.state.standing.subscribe()))
    }

    async fn send(&self, command: impl FnOnce(oneshot::Sender<Result<()>>) -> Command) -> Result<()> {
        let commands = self.commands().clone().ok_or_else(not_running)?;
        let (done, outcome) = oneshot::channel();
        commands.send(command(done)).await.map_err(|_| not_running())?;
        outcome.await.unwrap_or_else(|_| Err(not_running()))
    }

    fn commands(&self) -> MutexGuard<'_, Option<mpsc::Sender<Command>>> {
        self.0.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Another candidate may use the id as soon as the last handle is dropped. Its registration waits until that of this candidate
/// is released or has expired.
impl Drop for Inner {
    fn drop(&mut self) {
        self.election.free_id(&self.id);
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
struct LeadCall(Arc<CandidateState>);

impl LeadCall {
    fn begin(state: &Arc<CandidateState>) -> Self {
        state.lead_calls.send_modify(|calls| *calls = Some(calls.unwrap_or(0) + 1));
        Self(Arc::clone(state))
    }
}

impl Drop for LeadCall {
    fn drop(&mut self) {
        self.0.lead_calls.send_modify(|calls| *calls = calls.map(|calls| calls - 1));
    }
}

/// The health check of a candidate.
#[derive(Default)]
struct Check {
    /// The number of checks that were replaced or stopped.
    number: u64,
    task: Option<AbortHandle>,
}

impl Check {
    /// Stops the check. Returns the number of the next one.
    fn stop(&mut self) -> u64 {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.number += 1;
        self.number
    }
}

/// The right of a check to set the health of its candidate, until it is replaced. If the check ends before that, the health is
/// unknown, and the candidate counts as unhealthy.
struct Checking {
    candidate: Weak<Inner>,
    number: u64,
}

impl Checking {
    /// Sets the health, unless the check was replaced. Returns whether the check goes on.
    fn report(&self, health: Health) -> bool {
        let Some(inner) = self.candidate.upgrade() else { return false };
        let check = inner.check();
        let is_current = check.number == self.number;
        if is_current {
            inner.state.set_health(health);
        }
        is_current
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        let health = Health::unhealthy().with_detail("check", "it has ended, by a panic or with its runtime");
        if let Some(inner) = self.candidate.upgrade()
            && self.report(health)
        {
            tracing::error!(
                target: "lease",
                candidate = %inner.id,
                "a health check has ended, by a panic or with its runtime: the candidate is unhealthy until its health is set"
            );
        }
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("id", &self.0.id)
            .field("status", &*self.0.state.status.borrow())
            .field("standing", &*self.0.state.standing.borrow())
            .finish_non_exhaustive()
    }
}
