//! A memory store whose calls can be counted and held up, and which reacts to some names as a troubled store would.

use std::{
    collections::HashSet,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use lease_core::{
    AcquireRequest, Acquired, Break, Capabilities, ClientBuilder, Clock, Error, ErrorKind, FencingToken, LeaseClient,
    LeaseName, LeaseRecord, LeaseStore, ReleaseRequest, Released, RenewRequest, Renewed, Result, Revocations,
    TokioClock, Wakeups,
};
use lease_memory::MemoryStore;
use lease_testkit::ChaosStore;
use tokio::{runtime, sync::watch, task};

/// How calls with certain names go: those that begin with `hang` never come back, nor do renewals of those that begin with
/// `stuck`, nor releases of those that begin with `cling`; `poison` spoils the whole call, `panic` panics, and subscriptions to
/// those that begin with `mute` do.
#[derive(Debug, Clone)]
pub(crate) struct TroubledStore {
    inner: MemoryStore,
    calls: Arc<Mutex<Vec<(&'static str, usize)>>>,
    gate: watch::Sender<bool>,
    pub(crate) revocations: Revocations,
    asked_for_endings: Arc<AtomicUsize>,
    calls_at_once: usize,
    poll_interval: Duration,
    has_push: bool,
    has_parts: bool,
    says_never: Arc<AtomicBool>,
    cut: Arc<AtomicUsize>,
    runtimes: Arc<Mutex<HashSet<runtime::Id>>>,
    tasks: Arc<Mutex<HashSet<task::Id>>>,
}

impl TroubledStore {
    pub(crate) fn new() -> Self {
        Self::on(MemoryStore::with_clock(TokioClock::new()))
    }

    pub(crate) fn on(inner: MemoryStore) -> Self {
        Self {
            inner,
            calls: Arc::default(),
            gate: watch::Sender::new(true),
            revocations: Revocations::default(),
            asked_for_endings: Arc::default(),
            calls_at_once: 1,
            poll_interval: Duration::from_secs(1),
            has_push: true,
            has_parts: false,
            says_never: Arc::default(),
            cut: Arc::default(),
            runtimes: Arc::default(),
            tasks: Arc::default(),
        }
    }

    /// How many there are of this store, this one included.
    pub(crate) fn clones(&self) -> usize {
        Arc::strong_count(&self.calls)
    }

    /// The runtimes on which it was called.
    pub(crate) fn runtimes(&self) -> HashSet<runtime::Id> {
        self.runtimes.lock().unwrap().clone()
    }

    /// The tasks that called it.
    pub(crate) fn tasks(&self) -> HashSet<task::Id> {
        self.tasks.lock().unwrap().clone()
    }

    fn note_the_caller(&self) {
        self.runtimes.lock().unwrap().insert(runtime::Handle::current().id());
        self.tasks.lock().unwrap().extend(task::try_id());
    }

    /// How many looks were dropped before they were answered.
    pub(crate) fn cut_looks(&self) -> usize {
        self.cut.load(Ordering::SeqCst)
    }

    /// Answers a look after some polls.
    async fn look<T>(&self, look: impl Future<Output = T>) -> T {
        struct Cut<'a>(&'a AtomicUsize);
        impl Drop for Cut<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.note_the_caller();
        let cut = Cut(&self.cut);
        take_some_polls().await;
        let outcome = look.await;
        std::mem::forget(cut);
        outcome
    }

    /// From now on, or no longer, every name is held and will never be free.
    pub(crate) fn say_never(&self, never: bool) {
        self.says_never.store(never, Ordering::SeqCst);
    }

    pub(crate) fn with_calls_at_once(self, calls_at_once: usize) -> Self {
        Self { calls_at_once, ..self }
    }

    pub(crate) fn with_poll_interval(self, poll_interval: Duration) -> Self {
        Self { poll_interval, ..self }
    }

    /// Names that begin with `stuck` are in a part of their own.
    pub(crate) fn with_parts(self) -> Self {
        Self { has_parts: true, ..self }
    }

    pub(crate) fn without_push(self) -> Self {
        Self { has_push: false, ..self }
    }

    /// Calls that begin from now on wait in the store.
    pub(crate) fn close_gate(&self) {
        self.gate.send_replace(false);
    }

    pub(crate) fn open_gate(&self) {
        self.gate.send_replace(true);
    }

    pub(crate) fn asked_for_endings(&self) -> usize {
        self.asked_for_endings.load(Ordering::SeqCst)
    }

    /// The numbers of elements in the calls of this operation, in the order in which they began.
    pub(crate) fn calls(&self, operation: &str) -> Vec<usize> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(name, _)| *name == operation).map(|(_, elements)| *elements).collect()
    }

    async fn pass<T>(&self, operation: &'static str, names: Vec<&LeaseName>) -> Option<Vec<Result<T>>> {
        self.note_the_caller();
        self.calls.lock().unwrap().push((operation, names.len()));
        let any = |prefix: &str| names.iter().any(|name| name.as_str().starts_with(prefix));
        assert!(!any("panic"), "a defect in the provider");
        if any("hang") || (operation == "renew" && any("stuck")) || (operation == "release" && any("cling")) {
            std::future::pending::<()>().await;
        }
        take_some_polls().await;
        self.gate.subscribe().wait_for(|open| *open).await.unwrap();
        let poisoned = || Err(Error::new(ErrorKind::Invalid, operation, "poisoned"));
        any("poison").then(|| names.iter().map(|_| poisoned()).collect())
    }
}

#[async_trait]
impl LeaseStore for TroubledStore {
    fn capabilities(&self) -> Capabilities {
        let capabilities = self.inner.capabilities().with_calls_at_once(self.calls_at_once).with_push(self.has_push);
        capabilities.with_poll_interval(self.poll_interval)
    }

    async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        if self.says_never.load(Ordering::SeqCst) {
            return vec![Ok(Acquired::Held { by: None, retry_after: Some(Duration::MAX) }); requests.len()];
        }
        match self.pass("acquire", requests.iter().map(|request| &request.name).collect()).await {
            Some(failure) => failure,
            None => self.inner.acquire(requests).await,
        }
    }

    async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        match self.pass("renew", requests.iter().map(|request| &request.claim.name).collect()).await {
            Some(failure) => failure,
            None => self.inner.renew(requests).await,
        }
    }

    async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        match self.pass("release", requests.iter().map(|request| &request.claim.name).collect()).await {
            Some(failure) => failure,
            None => self.inner.release(requests).await,
        }
    }

    async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        self.look(self.inner.inspect(name)).await
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        self.look(self.inner.list(prefix, after, limit)).await
    }

    async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
        self.note_the_caller();
        take_some_polls().await;
        self.inner.break_lease(name, token, how).await
    }

    fn subscribe(&self, name: &LeaseName) -> Wakeups {
        assert!(!name.as_str().starts_with("mute"), "a defect in the provider");
        if self.has_push { self.inner.subscribe(name) } else { Wakeups::never() }
    }

    fn revocations(&self) -> Revocations {
        self.asked_for_endings.fetch_add(1, Ordering::SeqCst);
        self.revocations.clone()
    }

    fn part_of(&self, name: &LeaseName) -> u16 {
        u16::from(self.has_parts && name.as_str().starts_with("stuck"))
    }
}

/// So that a caller can be dropped between them.
async fn take_some_polls() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

pub(crate) const TTL: Duration = Duration::from_secs(30);

/// A client of this store on tokio's clock.
pub(crate) fn client(store: &TroubledStore) -> LeaseClient {
    builder(store).build()
}

/// The same, to be set up.
pub(crate) fn builder(store: &TroubledStore) -> ClientBuilder {
    LeaseClient::builder(store.clone()).clock(TokioClock::new())
}

/// A memory store on tokio's clock, whose calls fail as they are told to.
pub(crate) fn chaos() -> ChaosStore {
    let clock = TokioClock::new();
    ChaosStore::new(Arc::new(MemoryStore::with_clock(clock)), Arc::new(clock), 7)
}

/// A client of it.
pub(crate) fn client_of(chaos: &ChaosStore) -> LeaseClient {
    LeaseClient::builder(chaos.clone()).clock(TokioClock::new()).build()
}

/// What comes of this within a time of the paused clock.
pub(crate) async fn within<F: Future>(time: Duration, future: F) -> Option<F::Output> {
    let clock = TokioClock::new();
    tokio::select! {
        biased;
        output = future => Some(output),
        () = clock.sleep_until(clock.now() + time) => None,
    }
}

/// Polls the future so many times, with everything else running in between, then drops it. Whether it completed.
pub(crate) async fn drop_after<F: Future>(polls: usize, future: F) -> bool {
    let mut future: Pin<Box<F>> = Box::pin(future);
    for _ in 0..polls {
        if futures::poll!(&mut future).is_ready() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

/// Lets all tasks run until nothing is left to do at this moment.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Lets this much time pass.
pub(crate) async fn pass(time: Duration) {
    tokio::time::advance(time).await;
    settle().await;
}

/// Whether the name is free in the store.
pub(crate) async fn is_free(store: &TroubledStore, name: &str) -> bool {
    store.inspect(&name.parse().unwrap()).await.unwrap().is_none()
}
