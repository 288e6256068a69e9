//! The store of a worker: it counts calls, and has the injected defect.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use lease_core::{
    AcquireRequest, Acquired, Break, Capabilities, Clock, FencingToken, LeaseName, LeaseRecord, LeaseStore,
    ReleaseRequest, Released, RenewRequest, Renewed, Result, Revocations, SystemClock, Wakeups,
};

use crate::record::Sabotage;

/// A store that counts its calls, and changes answers if a defect is injected.
#[derive(Debug)]
pub(crate) struct WorkerStore {
    store: Arc<dyn LeaseStore>,
    calls: Arc<AtomicU64>,
    sabotage: Option<Sabotage>,
    /// For each name the last token of the store, and the token that replaces it.
    counts: Mutex<HashMap<LeaseName, (FencingToken, u64)>>,
    /// The answer to the previous attempt.
    previous: Mutex<Option<Acquired>>,
}

impl WorkerStore {
    /// Creates a store that counts its calls in `calls`.
    pub(crate) fn new(store: Arc<dyn LeaseStore>, calls: Arc<AtomicU64>, sabotage: Option<Sabotage>) -> Self {
        Self { store, calls, sabotage, counts: Mutex::default(), previous: Mutex::default() }
    }

    fn count(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn counts_from_answer(&self) -> bool {
        self.sabotage == Some(Sabotage::DeadlineFromAnswer)
    }

    /// Returns a token that counts the grants of this process only, in violation of S9.
    fn short_lived_token(&self, name: &LeaseName, token: FencingToken) -> FencingToken {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, count) = counts.entry(name.clone()).or_insert((token, 1));
        if *last != token {
            (*last, *count) = (token, *count + 1);
        }
        FencingToken::new(*count).unwrap_or(token)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl LeaseStore for WorkerStore {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        self.count();
        let sent = SystemClock.now();
        let mut answers = self.store.acquire(requests).await;
        if self.sabotage == Some(Sabotage::MixedUpAnswers) {
            // As on a connection whose answers are one behind (S25).
            let mut previous = self.previous.lock().unwrap_or_else(PoisonError::into_inner);
            for answer in answers.iter_mut().flatten() {
                if let Some(previous) = previous.replace(answer.clone()) {
                    *answer = previous;
                }
            }
        }
        for (request, answer) in requests.iter().zip(&mut answers) {
            let Ok(Acquired::Granted(grant)) = answer else { continue };
            if self.counts_from_answer() {
                // The remaining time counts from the request (S1); this reverts that.
                grant.remaining += SystemClock.now().saturating_since(sent);
            }
            if self.sabotage == Some(Sabotage::CounterReset) {
                grant.token = self.short_lived_token(&request.name, grant.token);
            }
        }
        answers
    }

    async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        self.count();
        let sent = SystemClock.now();
        let mut answers = self.store.renew(requests).await;
        for answer in &mut answers {
            if let Ok(Renewed::Extended { remaining }) = answer
                && self.counts_from_answer()
            {
                *remaining += SystemClock.now().saturating_since(sent);
            }
        }
        answers
    }

    async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        self.count();
        self.store.release(requests).await
    }

    async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        self.count();
        self.store.inspect(name).await
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        self.count();
        self.store.list(prefix, after, limit).await
    }

    async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
        self.count();
        self.store.break_lease(name, token, how).await
    }

    fn subscribe(&self, name: &LeaseName) -> Wakeups {
        self.store.subscribe(name)
    }

    fn revocations(&self) -> Revocations {
        self.store.revocations()
    }

    fn part_of(&self, name: &LeaseName) -> u16 {
        self.store.part_of(name)
    }
}
