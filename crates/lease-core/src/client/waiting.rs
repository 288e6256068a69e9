//! Waiting for a name that another holder has.
//!
//! All callers of a client that want one name, as the same holder, stand in one line and are served in order. The caller that
//! opens the line asks the store once, itself. After that one task, the contender, tries on behalf of the first waiter (L2). It
//! is woken by the store's hints (S20), by the expiry of the lease, or by a poll. A caller that opened the line and is not polled
//! any more is waited for no longer than two timeouts of an attempt.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::sync::{oneshot, watch};
use tracing::{Instrument, Span};

use super::{
    attempt::{Asked, Attempt},
    call::AcquireCall,
    lease::Lease,
    shared::{Phase, Shared},
    spans,
};
use crate::{
    Error, ErrorKind, HolderId, LeaseEvent, LeaseName, LeaseOptions, LeaseRecord, Moment, Result, Retry, WaitOutcome,
    random::Jitter,
};

/// The shortest interval of the poll, whatever the store declares.
const SHORTEST_POLL: Duration = Duration::from_millis(10);
/// Contenders try up to this much after the lease expires, so that not all of them try at once.
const EXPIRY_JITTER: Duration = Duration::from_millis(25);

/// The waiting lines of a client.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<HashMap<Key, Queue>>);

/// The key of a line. The holder matters: a name may be reserved for one, and others must not stand in its way.
type Key = (LeaseName, HolderId);

/// The callers in a line, in order.
#[derive(Debug)]
struct Queue {
    waiters: VecDeque<Waiter>,
    /// While the caller that opened the line asks, and no contender runs.
    opened: Option<Opened>,
}

/// What is known of the caller that opened the line.
#[derive(Debug)]
struct Opened {
    /// Whether it stays in line. Closed if it is no longer waited for.
    stays: oneshot::Receiver<()>,
    give_up_at: Moment,
}

struct Waiter {
    attempt: Attempt,
    reply: oneshot::Sender<Result<Lease>>,
    observed: watch::Sender<Observed>,
    /// Before the next attempt.
    pause: Pause,
    failures: Failures,
    span: WaitSpan,
}

/// The span of a wait, with the first holder that it met.
struct WaitSpan {
    span: Span,
    has_met: bool,
}

impl WaitSpan {
    fn met(&mut self, by: Option<&LeaseRecord>) {
        if let Some(by) = by.filter(|_| !std::mem::replace(&mut self.has_met, true)) {
            self.span.record("lease.held_by", by.holder.as_str());
        }
    }
}

/// The pause before the next attempt. A hint ends it early.
enum Pause {
    /// Until the name may be free, as far as the store reports it, but no longer than the poll.
    UpTo(Option<Duration>),
    /// As the caller's policy says.
    Exactly(Duration),
}

/// The failed attempts of a waiter, one after the other.
#[derive(Default)]
struct Failures {
    policy: Option<Retry>,
    count: u32,
}

impl Failures {
    /// Counts a failure. Returns the pause before the next attempt, or the error if there is no other one.
    fn add(&mut self, error: Error, attempt: &Attempt) -> Result<(Pause, Error)> {
        self.count = self.count.saturating_add(1);
        match &self.policy {
            _ if !error.is_transient() => Err(error),
            Some(policy) if !policy.has_another(self.count) => Err(error),
            Some(policy) => Ok((Pause::Exactly(policy.delay(self.count, attempt.seed())), error)),
            None => Ok((Pause::UpTo(Some(attempt.attempt_timeout())), error)),
        }
    }
}

/// The last observation of a name, for the error of the wait limit. The limit does not pass before there is one (S19).
#[derive(Debug, Default)]
enum Observed {
    /// The store has not answered yet.
    #[default]
    Nothing,
    /// Other callers of this client wait for it.
    Line,
    Held,
    Failed(Error),
}

/// Acquires a lease, waiting for it while another holder has it.
pub(super) async fn acquire(
    shared: &Arc<Shared>,
    lines: &Arc<Lines>,
    name: LeaseName,
    options: LeaseOptions,
) -> Result<Lease> {
    let call = AcquireCall::begin(shared, name, &options, spans::acquire);
    let span = call.span.clone();
    spans::within(span, acquire_within_limit(shared, lines, call, options)).await
}

async fn acquire_within_limit(
    shared: &Arc<Shared>,
    lines: &Arc<Lines>,
    call: Arc<AcquireCall>,
    options: LeaseOptions,
) -> Result<Lease> {
    let limit = options.wait_limit;
    // Declared first, dropped last: the end of a wait is reported before the end of the call.
    let mut ending = call.until_ended();
    let mut wait = Wait::new(&call);
    let observed = watch::Sender::new(Observed::Nothing);
    let mut observations = observed.subscribe();
    let began = shared.clock.now();
    let limit_passed = async {
        match limit {
            Some(limit) => {
                // The first attempt is not cut short.
                let _ = observations.wait_for(|observed| !matches!(observed, Observed::Nothing)).await;
                shared.clock.sleep_until(began + limit).await;
            }
            None => std::future::pending().await,
        }
    };
    let failures = Failures { policy: options.retry, count: 0 };
    let attempt = Attempt::new(Arc::clone(&call), options);
    let outcome = tokio::select! {
        biased;
        outcome = acquire_without_limit(shared, lines, attempt, failures, &observed, &wait) => outcome,
        () = shared.reached(Phase::Closing) => Err(Error::closed("acquire")),
        () = limit_passed => Err(wait_limit(&call.name, limit.unwrap_or_default(), &observed.borrow())),
    };
    wait.outcome = match &outcome {
        Ok(_) => WaitOutcome::Won,
        Err(error) => match error.kind() {
            ErrorKind::WaitLimit => WaitOutcome::LimitPassed,
            ErrorKind::Closed => WaitOutcome::Closed,
            kind => WaitOutcome::Failed(kind),
        },
    };
    if let Err(error) = &outcome {
        ending.failed(error);
    }
    outcome
}

async fn acquire_without_limit(
    shared: &Arc<Shared>,
    lines: &Arc<Lines>,
    mut attempt: Attempt,
    mut failures: Failures,
    observed: &watch::Sender<Observed>,
    wait: &Wait<'_>,
) -> Result<Lease> {
    let key = (attempt.name().clone(), attempt.holder().clone());
    let line = Line { shared: Arc::clone(shared), lines: Arc::clone(lines), key };
    let (mut pause, mut met) = (Pause::UpTo(None), None);
    let opening = Opening::begin(&line, attempt.attempt_timeout());
    if opening.is_some() {
        match attempt.ask().await {
            Asked::Granted(lease) => return Ok(lease),
            Asked::Held { by, retry_after } => {
                observed.send_replace(Observed::Held);
                pause = Pause::UpTo(retry_after);
                met = by;
            }
            Asked::Failed(error) => {
                let (until_next, error) = failures.add(error, &attempt)?;
                observed.send_replace(Observed::Failed(error));
                pause = until_next;
            }
            Asked::Spent(error) => {
                observed.send_replace(Observed::Failed(error));
                attempt.begin_anew();
            }
        }
    } else {
        observed.send_replace(Observed::Line);
    }
    wait.begin();
    let (reply, answer) = oneshot::channel();
    let mut span = WaitSpan { span: wait.call.wait_span(), has_met: false };
    span.met(met.as_ref());
    let waiting = span.span.clone();
    let waiter = Waiter { attempt, reply, observed: observed.clone(), pause, failures, span };
    match opening {
        Some(opening) => opening.stay(waiter),
        None => line.join(waiter),
    }
    // The reply is dropped only with the contender, when the client's runtime ends.
    let answer = async { answer.await.unwrap_or_else(|_| Err(Error::runtime_ended("acquire"))) };
    spans::within(waiting, answer).await
}

fn wait_limit(name: &LeaseName, limit: Duration, observed: &Observed) -> Error {
    let error = |message| Error::new(ErrorKind::WaitLimit, "acquire", message).with_lease(name);
    match observed {
        Observed::Held => error(format!("still held by another holder after {limit:?}")),
        Observed::Failed(cause) => error(format!("not acquired within {limit:?}: {cause}")).with_source(cause.clone()),
        Observed::Nothing | Observed::Line => {
            error(format!("not acquired within {limit:?}: other callers of this client were waiting for it before"))
        }
    }
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the lines.
#[derive(Clone)]
struct Line {
    shared: Arc<Shared>,
    lines: Arc<Lines>,
    key: Key,
}

impl Line {
    /// Adds a waiter at the end. The first one starts the contender.
    fn join(&self, waiter: Waiter) {
        let opened = match self.lines.lock().entry(self.key.clone()) {
            Entry::Occupied(mut line) => {
                let Queue { waiters, opened } = line.get_mut();
                if waiters.len() == waiters.capacity() {
                    // Before the line grows, remove the waiters that were dropped.
                    waiters.retain(|waiter| !waiter.reply.is_closed());
                }
                waiters.push_back(waiter);
                match opened.take() {
                    Some(opened) => Some(opened),
                    None => return,
                }
            }
            Entry::Vacant(line) => {
                line.insert(Queue { waiters: VecDeque::from([waiter]), opened: None });
                None
            }
        };
        self.start_contender(opened);
    }

    fn start_contender(&self, opened: Option<Opened>) {
        self.shared.runtime.spawn(Contender::new(self.clone()).run(opened));
    }
}

/// The first attempt of the caller that opened a line. Later callers wait for its outcome.
struct Opening {
    line: Line,
    /// Dropped with nothing sent if the caller does not stay in line.
    stays: Option<oneshot::Sender<()>>,
}

impl Opening {
    /// Opens the line, if there is none.
    fn begin(line: &Line, attempt_timeout: Duration) -> Option<Self> {
        let (stays, receiver) = oneshot::channel();
        let opened =
            Opened { stays: receiver, give_up_at: line.shared.clock.now() + attempt_timeout.saturating_mul(2) };
        match line.lines.lock().entry(line.key.clone()) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(vacant) => vacant.insert(Queue { waiters: VecDeque::new(), opened: Some(opened) }),
        };
        Some(Self { line: line.clone(), stays: Some(stays) })
    }

    /// Puts its caller at the head of the line, or at its end if it was no longer waited for.
    fn stay(mut self, waiter: Waiter) {
        let mut lines = self.line.lines.lock();
        let stays = self.stays.take().filter(|stays| !stays.is_closed());
        let (Some(stays), Some(queue)) = (stays, lines.get_mut(&self.line.key)) else {
            drop(lines);
            return self.line.join(waiter);
        };
        queue.waiters.push_front(waiter);
        let is_alone = queue.opened.take().is_some();
        if !is_alone {
            let _ = stays.send(());
            return;
        }
        // Without the lock: a contender that is dropped at once, because the runtime has ended, takes it.
        drop(lines);
        self.line.start_contender(None);
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        // Granted, failed or dropped: the contender, if there is one, goes on at once for the callers in line.
        let Some(stays) = self.stays.take() else { return };
        let mut lines = self.line.lines.lock();
        let is_alone = lines.get(&self.line.key).is_some_and(|queue| queue.opened.is_some());
        if is_alone && !stays.is_closed() {
            lines.remove(&self.line.key);
        }
    }
}

/// The task that contends for one name on behalf of a line. A waiter that is dropped, or not polled, delays no other one.
struct Contender {
    line: Line,
    /// Seeded by name and holder, so that contenders differ, and a simulation can be reproduced.
    jitter: Jitter,
    /// When the next attempt is due, for whichever waiter is first then: a waiter that is dropped takes neither the poll nor a
    /// hint with it.
    wake_at: Option<Moment>,
    is_registered: bool,
}

impl Contender {
    fn new(line: Line) -> Self {
        let jitter = Jitter::new(&line.key);
        Self { line, jitter, wake_at: None, is_registered: true }
    }

    async fn run(mut self, opened: Option<Opened>) {
        // Before the first attempt, so that no release in between is missed.
        let mut wakeups = self.line.shared.subscribe(&self.line.key.0);
        if let Some(opened) = opened
            && !self.stays_in_line(opened).await
        {
            self.wake_at = Some(self.line.shared.clock.now());
        }
        while let Some(mut waiter) = self.next_waiter() {
            let own = self.after(&waiter.pause);
            let mut wakes = self.wake_at.take().map_or(own, |at: Moment| at.min(own));
            loop {
                tokio::select! {
                    biased;
                    () = waiter.reply.closed() => {
                        self.wake_at = Some(wakes);
                        break;
                    }
                    () = wakeups.next() => {}
                    () = self.line.shared.clock.sleep_until(wakes) => {}
                }
                let span = waiter.attempt.span();
                let asking = waiter.attempt.ask().instrument(span);
                let asked = tokio::select! {
                    biased;
                    asked = asking => asked,
                    () = waiter.reply.closed() => {
                        self.wake_at = Some(self.line.shared.clock.now());
                        break;
                    }
                };
                match asked {
                    Asked::Granted(lease) => {
                        // If the waiter was dropped at this very moment, the lease comes back and is released.
                        let _ = waiter.reply.send(Ok(lease));
                        break;
                    }
                    Asked::Held { by, retry_after } => {
                        waiter.span.met(by.as_ref());
                        waiter.failures.count = 0;
                        waiter.observed.send_replace(Observed::Held);
                        wakes = self.after(&Pause::UpTo(retry_after));
                    }
                    Asked::Failed(error) => match waiter.failures.add(error, &waiter.attempt) {
                        Ok((pause, error)) => {
                            waiter.observed.send_replace(Observed::Failed(error));
                            wakes = self.after(&pause);
                        }
                        Err(error) => {
                            // The hint that was taken for it was for the others, too.
                            self.wake_at = Some(self.line.shared.clock.now());
                            let _ = waiter.reply.send(Err(error));
                            break;
                        }
                    },
                    Asked::Spent(error) => {
                        waiter.observed.send_replace(Observed::Failed(error));
                        waiter.attempt.begin_anew();
                        wakes = self.after(&Pause::UpTo(Some(waiter.attempt.attempt_timeout())));
                    }
                }
            }
        }
    }

    /// Waits until the caller that opened the line has asked, and returns whether it stays in line. One that does not come back in
    /// time may not be polled any more, and is like any other caller from then on.
    async fn stays_in_line(&self, Opened { mut stays, give_up_at }: Opened) -> bool {
        tokio::select! {
            biased;
            stays = &mut stays => stays.is_ok(),
            () = self.line.shared.clock.sleep_until(give_up_at) => {
                // Under the lock, under which that caller sees it.
                let _lines = self.line.lines.lock();
                stays.close();
                stays.try_recv().is_ok()
            }
        }
    }

    /// Takes the first waiter that was not dropped. Without one, the line is removed under the same lock: a later caller starts
    /// another contender.
    fn next_waiter(&mut self) -> Option<Waiter> {
        let mut lines = self.line.lines.lock();
        let line = lines.get_mut(&self.line.key)?;
        while let Some(waiter) = line.waiters.pop_front() {
            if !waiter.reply.is_closed() {
                return Some(waiter);
            }
        }
        lines.remove(&self.line.key);
        self.is_registered = false;
        None
    }

    /// Returns when to try again.
    fn after(&mut self, pause: &Pause) -> Moment {
        let interval = self.line.shared.capabilities.poll_interval.max(SHORTEST_POLL);
        let poll = interval.mul_f64(1.0 + self.jitter.share());
        let pause = match pause {
            Pause::Exactly(pause) => *pause,
            Pause::UpTo(None) => poll,
            Pause::UpTo(Some(free)) => free.saturating_add(EXPIRY_JITTER.mul_f64(self.jitter.share())).min(poll),
        };
        self.line.shared.clock.now() + pause
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // The runtime has ended. Dropping the waiters' replies notifies them; the lock is not held meanwhile.
        let line = if self.is_registered { self.line.lines.lock().remove(&self.line.key) } else { None };
        drop(line);
    }
}

/// A wait, whose beginning and end are reported to observers, however it ends.
struct Wait<'a> {
    call: &'a AcquireCall,
    began: OnceLock<Moment>,
    outcome: WaitOutcome,
}

impl<'a> Wait<'a> {
    fn new(call: &'a AcquireCall) -> Self {
        Self { call, began: OnceLock::new(), outcome: WaitOutcome::Dropped }
    }

    fn begin(&self) {
        self.began.get_or_init(|| {
            let AcquireCall { shared, name, holder, correlation, .. } = self.call;
            shared.events.emit(|| LeaseEvent::WaitStarted {
                name: name.clone(),
                holder: holder.clone(),
                correlation: correlation.clone(),
            });
            shared.clock.now()
        });
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let Some(began) = self.began.get() else { return };
        let AcquireCall { shared, name, holder, correlation, .. } = self.call;
        shared.events.emit(|| LeaseEvent::WaitEnded {
            name: name.clone(),
            holder: holder.clone(),
            waited: shared.clock.now().saturating_since(*began),
            outcome: self.outcome,
            correlation: correlation.clone(),
        });
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter").field("name", self.attempt.name()).finish_non_exhaustive()
    }
}
