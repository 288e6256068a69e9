//! What every case works with: stores, requests, time, and patience.

use std::{
    fmt::{self},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use lease_core::{
    AcquireRequest, Capabilities, ClientBuilder, Clock, Error, ErrorKind, ExpiryJudge, GrantId, HolderId, Lease,
    LeaseClient, LeaseName, LeaseStore, Moment,
};

use crate::{
    ChaosStore, Fault, Harm, Harness, Hold, MixedUp, Operation, between_neighbours::BetweenNeighbours, calls::inspected,
};

/// A harness with everything that cases have in common.
pub struct Bench {
    harness: Box<dyn Harness>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ttl: Duration,
    holders: AtomicU64,
    between_neighbours: AtomicBool,
    chaos: Mutex<Vec<ChaosStore>>,
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench").field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

impl Bench {
    pub(crate) fn new(harness: impl Harness) -> Self {
        Self {
            clock: harness.clock(),
            ttl: harness.ttl(),
            harness: Box::new(harness),
            holders: AtomicU64::new(0),
            between_neighbours: AtomicBool::new(false),
            chaos: Mutex::default(),
        }
    }

    pub(crate) async fn stop(&self) {
        self.harness.stop().await;
    }

    /// A store of its own, as one more process would have.
    pub(crate) async fn store(&self) -> Arc<dyn LeaseStore> {
        let store = self.harness.store().await;
        if self.between_neighbours.load(Ordering::Relaxed) { Arc::new(BetweenNeighbours(store)) } else { store }
    }

    /// From now on no request goes alone to a store of this bench.
    pub(crate) fn between_neighbours(&self) {
        self.between_neighbours.store(true, Ordering::Relaxed);
    }

    /// A store of its own that misbehaves on demand, and with [`Bench::freeze`] and [`Bench::cut`].
    pub(crate) async fn chaos(&self) -> ChaosStore {
        let chaos = ChaosStore::new(self.store().await, Arc::clone(&self.clock), 0);
        self.chaos.lock().unwrap_or_else(PoisonError::into_inner).push(chaos.clone());
        chaos
    }

    fn each_chaos(&self, change: impl Fn(&ChaosStore)) {
        self.chaos.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(change);
    }

    /// Freezes the store. Where there is no server to freeze, every [`Bench::chaos`] store does as if.
    pub(crate) async fn freeze(&self) {
        if self.harness.freeze().await == Harm::CannotDo {
            self.assert_lives_in_this_process("freeze").await;
            self.each_chaos(ChaosStore::freeze);
        }
    }

    pub(crate) async fn thaw(&self) {
        self.harness.thaw().await;
        self.each_chaos(ChaosStore::thaw);
    }

    /// Cuts the store off. Where there is no network to cut, every [`Bench::chaos`] store does as if.
    pub(crate) async fn cut(&self) {
        if self.harness.cut().await == Harm::CannotDo {
            self.assert_lives_in_this_process("cut").await;
            self.each_chaos(ChaosStore::cut);
        }
    }

    /// Nobody fails for losing a race, but where commits are slow: there a name may be locked for longer than an attempt waits.
    pub(crate) fn assert_is_locked(&self, error: &Error) {
        assert!(self.harness.commits_slowly() && error.kind() == ErrorKind::Unavailable, "{error}");
    }

    /// Answers are lost, where there is something between the store and its server.
    pub(crate) async fn lose_answers(&self) -> Harm {
        let harm = self.harness.lose_answers().await;
        if harm == Harm::CannotDo {
            self.assert_lives_in_this_process("lose answers of").await;
        }
        harm
    }

    /// Answers are late. Where there is nothing between the store and its server, every [`Bench::chaos`] store does as if, once
    /// an operation.
    pub(crate) async fn delay_answers(&self, delay: Duration) {
        if self.harness.delay_answers(delay).await == Harm::CannotDo {
            self.assert_lives_in_this_process("delay answers of").await;
            for operation in [Operation::Acquire, Operation::Renew] {
                self.each_chaos(|chaos| chaos.inject(Fault::DelayAnswer(delay).on(operation).once()));
            }
        }
    }

    pub(crate) async fn set_clock_back(&self, by: Duration) -> Harm {
        self.harness.set_clock_back(by).await
    }

    pub(crate) async fn heal(&self) {
        self.harness.heal().await;
        self.each_chaos(ChaosStore::heal);
    }

    /// Restarts the store's server, if it has one.
    pub(crate) async fn restart(&self) -> Harm {
        let harm = self.harness.restart().await;
        if harm == Harm::CannotDo {
            self.assert_lives_in_this_process("restart").await;
            assert!(
                !self.capabilities().await.tokens_survive.restart,
                "it cannot restart, so tokens cannot survive it"
            );
        }
        harm
    }

    /// Kills the store's server and starts it again, if the harness can.
    pub(crate) async fn crash(&self) -> Harm {
        let harm = self.harness.crash().await;
        let survive = self.capabilities().await.grants_survive_crash;
        assert!(harm == Harm::Done || !survive, "the store says that grants survive a crash: its harness must show it");
        harm
    }

    pub(crate) async fn back_up(&self) -> Harm {
        let harm = self.harness.back_up().await;
        let survive = self.capabilities().await.tokens_survive.data_loss;
        assert!(
            harm == Harm::Done || !survive,
            "the store says that tokens survive a loss of data: its harness must show it"
        );
        harm
    }

    pub(crate) async fn put_back(&self) {
        self.harness.put_back().await;
    }

    pub(crate) async fn hold(&self, name: &LeaseName) -> Option<Box<dyn Hold>> {
        self.harness.hold(name).await
    }

    pub(crate) async fn mixed_up(&self) -> Option<Box<dyn MixedUp>> {
        self.harness.mixed_up().await
    }

    pub(crate) async fn remove_record(&self, name: &LeaseName) -> Harm {
        self.harness.remove_record(name).await
    }

    async fn assert_lives_in_this_process(&self, fault: &str) {
        let judge = self.capabilities().await.expiry_judge;
        assert_eq!(judge, ExpiryJudge::Process, "a store with a server needs a harness that can {fault} it");
    }

    pub(crate) async fn capabilities(&self) -> Capabilities {
        self.store().await.capabilities()
    }

    pub(crate) fn patience(&self) -> Duration {
        self.harness.patience()
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Lets this much time pass, for something that must have happened by then.
    pub(crate) async fn pass(&self, duration: Duration) {
        self.clock.sleep_until(self.clock.now() + duration).await;
    }

    /// The outcome of this future, which must come within a ttl and the patience of the harness.
    pub(crate) async fn soon<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        self.within(what, self.ttl + self.patience(), future).await
    }

    /// The outcome of this future, which must come within this time.
    pub(crate) async fn within<T>(&self, what: &str, limit: Duration, future: impl Future<Output = T>) -> T {
        match self.or_timeout(limit, future).await {
            Some(outcome) => outcome,
            None => panic!("{what}: nothing happened within {limit:?}"),
        }
    }

    /// The outcome of this future, if it comes within this time; else it is dropped.
    pub(crate) async fn or_timeout<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        let deadline = self.clock.now() + limit;
        tokio::select! {
            biased;
            outcome = future => Some(outcome),
            () = self.clock.sleep_until(deadline) => None,
        }
    }

    /// Asks again and again until there is an answer, at most for `limit`.
    pub(crate) async fn poll<T>(&self, what: &str, limit: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
        let deadline = self.now() + limit;
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            assert!(self.now() < deadline, "{what}: not within {limit:?}");
            self.pass(Duration::from_millis(5)).await;
        }
    }

    /// A client with a store and a holder id of its own, as one more process would have.
    pub(crate) async fn client(&self) -> LeaseClient {
        self.client_of(self.store().await)
    }

    /// A client of this store.
    pub(crate) fn client_of(&self, store: impl LeaseStore) -> LeaseClient {
        self.builder_of(store).build()
    }

    /// The same, to be set up.
    pub(crate) async fn builder(&self) -> ClientBuilder {
        self.builder_of(self.store().await)
    }

    /// The same, to be set up.
    pub(crate) fn builder_of(&self, store: impl LeaseStore) -> ClientBuilder {
        LeaseClient::builder(store).holder(self.holder()).clock(Arc::clone(&self.clock))
    }

    /// Waits until the name is free for this client, and takes it.
    pub(crate) async fn taken(&self, client: &LeaseClient, name: &LeaseName, limit: Duration) -> Lease {
        let lease = self.within("the name becomes free", limit, client.acquire(name, self.ttl)).await;
        lease.expect("acquire answers")
    }

    /// A holder that no other call of this returns.
    pub(crate) fn holder(&self) -> HolderId {
        let number = self.holders.fetch_add(1, Ordering::Relaxed);
        HolderId::new(format!("holder-{number}")).expect("a valid holder")
    }

    /// A request with a holder and a nonce of its own.
    pub(crate) fn request(&self, name: &LeaseName) -> AcquireRequest {
        AcquireRequest::new(name.clone(), self.holder(), GrantId::random(), self.ttl)
    }

    /// The longest that a grant of this ttl lasts, by the store's granularity.
    pub(crate) fn rounded(&self, ttl: Duration, capabilities: &Capabilities) -> Duration {
        let step = capabilities.ttl_granularity.as_nanos().max(1);
        let nanos = ttl.as_nanos().div_ceil(step) * step;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Waits until the store itself says that the name is free.
    pub(crate) async fn free(&self, store: &dyn LeaseStore, name: &LeaseName) {
        let limit = self.ttl * 2 + self.patience();
        self.poll("the lease expires", limit, async || match inspected(store, name).await {
            None => Some(()),
            Some(_) => None,
        })
        .await;
    }
}
