//! Waiting for a name that somebody else holds.
//!
//! All tasks of a client that want one name, as the same holder, stand in one line, first come first served. Who opens the line
//! asks the store once, itself; after that one task, the contender, tries on behalf of the first of them (L2). It is woken by
//! the store's hints (S20), by the holder's expiry, or by a poll.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::sync::{oneshot, watch};
use tracing::Instrument;

use crate::{
    Error, ErrorKind, HolderId, LeaseEvent, LeaseName, LeaseOptions, Moment, Result, WaitOutcome,
    attempt::{Asked, Attempt},
    core::{Core, Phase, closed},
    home::ended,
    lease::Lease,
    random::Jitter,
};

/// The poll behind the push: from this to twice this.
const POLL: Duration = Duration::from_secs(1);
/// Contenders come up to this much after the holder's expiry, so that not all come at once.
const EXPIRY_JITTER: Duration = Duration::from_millis(25);

/// The lines of a client.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<Lines>);

type Lines = HashMap<Place, VecDeque<Waiter>>;

/// Where a line is. A name may be reserved for a holder, so who waits as another one must not stand in its way.
type Place = (LeaseName, HolderId);

struct Waiter {
    attempt: Attempt,
    reply: oneshot::Sender<Result<Lease>>,
    known: watch::Sender<Known>,
    /// What the store said when it was asked last.
    retry_after: Option<Duration>,
}

/// What is known of a name that somebody waits for; told when the limit passes, which is never before there is something to
/// tell (S19).
#[derive(Debug, Default)]
enum Known {
    /// The store has not answered yet.
    #[default]
    Nothing,
    /// Others of this client stand in line for it.
    Line,
    Held,
    Failed(Error),
}

/// Acquires a lease, and waits for it if need be.
pub(crate) async fn acquire(core: &Arc<Core>, name: LeaseName, options: LeaseOptions) -> Result<Lease> {
    let span = tracing::debug_span!("lease.acquire", %name);
    acquire_within_limit(core, name, options).instrument(span).await
}

async fn acquire_within_limit(core: &Arc<Core>, name: LeaseName, options: LeaseOptions) -> Result<Lease> {
    let limit = options.wait_limit;
    let mut wait = Wait::new(core, &name, &options);
    let known = watch::Sender::new(Known::Nothing);
    let mut told = known.subscribe();
    let began = core.clock.now();
    let limit_passed = async {
        match limit {
            Some(limit) => {
                // The first attempt has its own time.
                let _ = told.wait_for(|known| !matches!(known, Known::Nothing)).await;
                core.clock.sleep_until(began + limit).await;
            }
            None => std::future::pending().await,
        }
    };
    let outcome = tokio::select! {
        biased;
        outcome = acquire_without_limit(core, name.clone(), options, &known, &wait) => outcome,
        () = core.reached(Phase::Closing) => Err(closed("acquire")),
        () = limit_passed => Err(wait_limit(&name, limit.unwrap_or_default(), &known.borrow())),
    };
    wait.outcome = match &outcome {
        Ok(_) => WaitOutcome::Won,
        Err(error) => match error.kind() {
            ErrorKind::WaitLimit => WaitOutcome::LimitPassed,
            ErrorKind::Closed => WaitOutcome::Closed,
            kind => WaitOutcome::Failed(kind),
        },
    };
    outcome
}

async fn acquire_without_limit(
    core: &Arc<Core>,
    name: LeaseName,
    options: LeaseOptions,
    known: &watch::Sender<Known>,
    wait: &Wait<'_>,
) -> Result<Lease> {
    let mut attempt = Attempt::new(core, name.clone(), options);
    let mut retry_after = None;
    let opening = Opening::begin(core, place(&attempt));
    if opening.is_some() {
        match attempt.ask().await {
            Asked::Granted(lease) => return Ok(lease),
            Asked::Held { retry_after: after, .. } => {
                known.send_replace(Known::Held);
                retry_after = after;
            }
            Asked::Failed(error) if !error.is_transient() => return Err(error),
            Asked::Failed(error) => {
                known.send_replace(Known::Failed(error));
            }
            Asked::Spent(error) => {
                known.send_replace(Known::Failed(error));
                attempt.begin_anew();
            }
        }
    } else {
        known.send_replace(Known::Line);
    }
    wait.begin();
    // There is somebody else, in the store or in the line.
    let (reply, answer) = oneshot::channel();
    let waiter = Waiter { attempt, reply, known: known.clone(), retry_after };
    match opening {
        Some(opening) => opening.stay(waiter),
        None => core.waiting.join(core, waiter),
    }
    // Without an answer the contender is gone, and with it the client's runtime.
    answer.await.unwrap_or_else(|_| Err(ended("acquire")))
}

fn wait_limit(name: &LeaseName, limit: Duration, known: &Known) -> Error {
    let error = |message| Error::new(ErrorKind::WaitLimit, "acquire", message);
    match known {
        Known::Held => error(format!("{name} was still held by somebody else after {limit:?}")),
        Known::Failed(cause) => {
            error(format!("{name} was not acquired within {limit:?}: {cause}")).with_source(cause.clone())
        }
        Known::Nothing | Known::Line => {
            error(format!("{name} was not acquired within {limit:?}: others of this client wait for it, too"))
        }
    }
}

impl Waiting {
    /// Gets into line; the first one brings the contender.
    fn join(&self, core: &Arc<Core>, waiter: Waiter) {
        let place = place(&waiter.attempt);
        match self.lock().entry(place.clone()) {
            Entry::Occupied(mut line) => {
                let line = line.get_mut();
                if line.len() == line.capacity() {
                    // Before it grows, those go who wait no longer.
                    line.retain(|waiter| !waiter.reply.is_closed());
                }
                line.push_back(waiter);
                return;
            }
            Entry::Vacant(line) => line.insert(VecDeque::from([waiter])),
        };
        core.home.spawn(Contender::new(core, place, None).run());
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(attempt: &Attempt) -> Place {
    (attempt.name().clone(), attempt.holder().clone())
}

/// The first attempt of whoever opened a line. Those who come meanwhile wait for what comes of it.
struct Opening {
    core: Arc<Core>,
    place: Place,
    is_over: bool,
}

impl Opening {
    /// Opens a line where there is none.
    fn begin(core: &Arc<Core>, place: Place) -> Option<Self> {
        match core.waiting.lock().entry(place.clone()) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(line) => line.insert(VecDeque::new()),
        };
        Some(Self { core: Arc::clone(core), place, is_over: false })
    }

    /// Waits on, at the head of the line.
    fn stay(mut self, waiter: Waiter) {
        self.is_over = true;
        self.core.waiting.lock().entry(self.place.clone()).or_default().push_front(waiter);
        self.core.home.spawn(Contender::new(&self.core, self.place.clone(), None).run());
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // Granted, failed or dropped: the others, if there are any, go on at once.
        let mut lines = self.core.waiting.lock();
        if lines.get(&self.place).is_some_and(VecDeque::is_empty) {
            lines.remove(&self.place);
            return;
        }
        drop(lines);
        let now = self.core.clock.now();
        self.core.home.spawn(Contender::new(&self.core, self.place.clone(), Some(now)).run());
    }
}

/// The task that contends for one name, for all who stand in its line. A waiter that is dropped, or not polled,
/// holds up nobody.
struct Contender {
    core: Arc<Core>,
    place: Place,
    /// Seeded by holder and name, so that contenders differ, and a simulation can be repeated.
    jitter: Jitter,
    /// When the name is worth an attempt, whoever is the first in line then: a waiter that goes takes neither the poll nor a
    /// hint with it.
    wake_at: Option<Moment>,
    on_duty: bool,
}

impl Contender {
    fn new(core: &Arc<Core>, place: Place, wake_at: Option<Moment>) -> Self {
        let jitter = Jitter::new(&place);
        Self { core: Arc::clone(core), place, jitter, wake_at, on_duty: true }
    }

    async fn run(mut self) {
        // Before the first try, so that no release in between goes unnoticed.
        let mut wakeups = self.core.subscribe(&self.place.0);
        while let Some(mut waiter) = self.next_waiter() {
            let own = self.after(waiter.retry_after);
            let mut wakes = self.wake_at.take().map_or(own, |at: Moment| at.min(own));
            loop {
                tokio::select! {
                    biased;
                    () = waiter.reply.closed() => {
                        self.wake_at = Some(wakes);
                        break;
                    }
                    () = wakeups.next() => {}
                    () = self.core.clock.sleep_until(wakes) => {}
                }
                let asked = tokio::select! {
                    biased;
                    asked = waiter.attempt.ask() => asked,
                    () = waiter.reply.closed() => {
                        self.wake_at = Some(self.core.clock.now());
                        break;
                    }
                };
                match asked {
                    Asked::Granted(lease) => {
                        // If the waiter has gone at this very moment, the lease comes back and is released.
                        let _ = waiter.reply.send(Ok(lease));
                        break;
                    }
                    Asked::Held { retry_after, .. } => {
                        waiter.known.send_replace(Known::Held);
                        wakes = self.after(retry_after);
                    }
                    Asked::Failed(error) if !error.is_transient() => {
                        let _ = waiter.reply.send(Err(error));
                        break;
                    }
                    Asked::Failed(error) => {
                        waiter.known.send_replace(Known::Failed(error));
                        wakes = self.after(Some(waiter.attempt.attempt_timeout()));
                    }
                    Asked::Spent(error) => {
                        waiter.known.send_replace(Known::Failed(error));
                        waiter.attempt.begin_anew();
                        wakes = self.after(Some(waiter.attempt.attempt_timeout()));
                    }
                }
            }
        }
    }

    /// The first in line who still waits. Without one the contender is off duty, under the same lock: who comes after that
    /// brings another one.
    fn next_waiter(&mut self) -> Option<Waiter> {
        let core = Arc::clone(&self.core);
        let mut lines = core.waiting.lock();
        let line = lines.get_mut(&self.place)?;
        while let Some(waiter) = line.pop_front() {
            if !waiter.reply.is_closed() {
                return Some(waiter);
            }
        }
        lines.remove(&self.place);
        self.on_duty = false;
        None
    }

    /// When to try again: at the next poll, or when the holder's time is over.
    fn after(&mut self, retry_after: Option<Duration>) -> Moment {
        let poll = POLL.mul_f64(1.0 + self.jitter.share());
        let expiry = retry_after.map(|after| after.saturating_add(EXPIRY_JITTER.mul_f64(self.jitter.share())));
        self.core.clock.now() + expiry.map_or(poll, |expiry| expiry.min(poll))
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // Its runtime has ended. Those who wait are told by the loss of their reply.
        let line = if self.on_duty { self.core.waiting.lock().remove(&self.place) } else { None };
        drop(line);
    }
}

/// A wait, which observers are told of from its beginning to its end, however it ends.
struct Wait<'a> {
    core: &'a Core,
    name: &'a LeaseName,
    holder: HolderId,
    began: OnceLock<Moment>,
    outcome: WaitOutcome,
}

impl<'a> Wait<'a> {
    fn new(core: &'a Core, name: &'a LeaseName, options: &LeaseOptions) -> Self {
        let holder = options.holder.as_ref().unwrap_or(&core.holder).clone();
        Self { core, name, holder, began: OnceLock::new(), outcome: WaitOutcome::Dropped }
    }

    /// The name is held: the wait begins.
    fn begin(&self) {
        self.began.get_or_init(|| {
            self.core.events.emit(|| LeaseEvent::WaitStarted { name: self.name.clone(), holder: self.holder.clone() });
            self.core.clock.now()
        });
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let Some(began) = self.began.get() else { return };
        self.core.events.emit(|| LeaseEvent::WaitEnded {
            name: self.name.clone(),
            holder: self.holder.clone(),
            waited: self.core.clock.now().saturating_since(*began),
            outcome: self.outcome,
        });
    }
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiter").field("name", self.attempt.name()).finish_non_exhaustive()
    }
}
