//! A store that records its calls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lease_core::{
    AcquireRequest, Acquired, Break, Capabilities, ErrorKind, FencingToken, LeaseName, LeaseRecord, LeaseStore,
    ReleaseRequest, Released, RenewRequest, Renewed, Result, Revocations, Wakeups,
};

use crate::Operation;

/// A recorded call of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// The operation that was called.
    pub operation: Operation,
    /// The names of the elements, in order. Empty for a list.
    pub names: Vec<LeaseName>,
    /// How far the call has come.
    pub progress: Progress,
}

/// The progress of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The call has no answer yet.
    InFlight,
    /// The caller dropped the call before it was answered.
    Cancelled,
    /// The call was answered: one outcome for each element.
    Answered(Vec<Outcome>),
}

/// The outcome of one element, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Acquired, with this token.
    Granted(FencingToken),
    /// Not acquired: another holder has the lease.
    Held,
    /// Not acquired: the nonce was spent.
    Spent,
    /// Renewed.
    Extended,
    /// Not renewed: the grant has ended.
    Lost,
    /// Released or broken.
    Freed,
    /// Not released or broken: the grant had already ended.
    NotHeld,
    /// The number of records that were found.
    Found(usize),
    /// An error of this kind.
    Failed(ErrorKind),
}

/// A store that passes each call on to another store and records it: the number of calls of an operation, the size of their
/// batches, the calls that were dropped. Clones share one record.
#[derive(Debug, Clone)]
pub struct RecordingStore {
    inner: Arc<dyn LeaseStore>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl RecordingStore {
    /// Creates a store that records the calls of `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn LeaseStore>) -> Self {
        Self { inner, calls: Arc::default() }
    }

    /// Returns all calls since the last [`RecordingStore::clear`], in the order in which they began.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.lock().clone()
    }

    /// Returns the calls of one operation.
    #[must_use]
    pub fn calls_of(&self, operation: Operation) -> Vec<Call> {
        self.lock().iter().filter(|call| call.operation == operation).cloned().collect()
    }

    /// Returns the number of calls of one operation.
    #[must_use]
    pub fn count(&self, operation: Operation) -> usize {
        self.lock().iter().filter(|call| call.operation == operation).count()
    }

    /// Returns the number of elements in all calls of one operation together.
    #[must_use]
    pub fn elements(&self, operation: Operation) -> usize {
        self.calls_of(operation).iter().map(|call| call.names.len()).sum()
    }

    /// Returns how many elements of one operation have an outcome for which `is_it` is true.
    #[must_use]
    pub fn outcomes(&self, operation: Operation, is_it: impl Fn(&Outcome) -> bool) -> usize {
        let answered = |call: &Call| match &call.progress {
            Progress::Answered(outcomes) => outcomes.iter().filter(|outcome| is_it(outcome)).count(),
            Progress::InFlight | Progress::Cancelled => 0,
        };
        self.calls_of(operation).iter().map(answered).sum()
    }

    /// Returns the number of calls that have no answer yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.lock().iter().filter(|call| call.progress == Progress::InFlight).count()
    }

    /// Removes all calls. Calls in flight are not recorded when they end.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, operation: Operation, names: Vec<LeaseName>) -> Recorded {
        let mut calls = self.lock();
        calls.push(Call { operation, names, progress: Progress::InFlight });
        Recorded { calls: Arc::clone(&self.calls), index: calls.len() - 1, operation }
    }
}

/// A call in flight. Dropped without an answer, it is recorded as cancelled.
struct Recorded {
    calls: Arc<Mutex<Vec<Call>>>,
    index: usize,
    operation: Operation,
}

impl Recorded {
    fn answered<T>(self, answers: &[Result<T>], outcome: impl Fn(&T) -> Outcome) {
        let of = |answer: &Result<T>| match answer {
            Ok(value) => outcome(value),
            Err(error) => Outcome::Failed(error.kind()),
        };
        self.set(Progress::Answered(answers.iter().map(of).collect()));
    }

    fn set(&self, progress: Progress) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(call) = calls.get_mut(self.index)
            && call.operation == self.operation
            && call.progress == Progress::InFlight
        {
            call.progress = progress;
        }
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.set(Progress::Cancelled);
    }
}

fn of_release(released: &Released) -> Outcome {
    match released {
        Released::Freed => Outcome::Freed,
        Released::NotHeld => Outcome::NotHeld,
        other => panic!("unexpected answer: {other:?}"),
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl LeaseStore for RecordingStore {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        let call = self.begin(Operation::Acquire, requests.iter().map(|request| request.name.clone()).collect());
        let answers = self.inner.acquire(requests).await;
        call.answered(&answers, |acquired| match acquired {
            Acquired::Granted(grant) => Outcome::Granted(grant.token),
            Acquired::Held { .. } => Outcome::Held,
            Acquired::Spent => Outcome::Spent,
            other => panic!("unexpected answer: {other:?}"),
        });
        answers
    }

    async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        let call = self.begin(Operation::Renew, requests.iter().map(|request| request.claim.name.clone()).collect());
        let answers = self.inner.renew(requests).await;
        call.answered(&answers, |renewed| match renewed {
            Renewed::Extended { .. } => Outcome::Extended,
            Renewed::Lost(_) => Outcome::Lost,
            other => panic!("unexpected answer: {other:?}"),
        });
        answers
    }

    async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        let call = self.begin(Operation::Release, requests.iter().map(|request| request.claim.name.clone()).collect());
        let answers = self.inner.release(requests).await;
        call.answered(&answers, of_release);
        answers
    }

    async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        let call = self.begin(Operation::Inspect, vec![name.clone()]);
        let answer = [self.inner.inspect(name).await];
        call.answered(&answer, |record| Outcome::Found(usize::from(record.is_some())));
        let [answer] = answer;
        answer
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        let call = self.begin(Operation::List, Vec::new());
        let answer = [self.inner.list(prefix, after, limit).await];
        call.answered(&answer, |records| Outcome::Found(records.len()));
        let [answer] = answer;
        answer
    }

    async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
        let call = self.begin(Operation::Break, vec![name.clone()]);
        let answer = [self.inner.break_lease(name, token, how).await];
        call.answered(&answer, of_release);
        let [answer] = answer;
        answer
    }

    fn subscribe(&self, name: &LeaseName) -> Wakeups {
        self.inner.subscribe(name)
    }

    fn revocations(&self) -> Revocations {
        self.inner.revocations()
    }

    fn part_of(&self, name: &LeaseName) -> u16 {
        self.inner.part_of(name)
    }
}
