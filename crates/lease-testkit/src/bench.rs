//! The context of a case: stores, clients, faults, requests and time.

use std::{
    fmt::{self},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use lease_core::{
    AcquireRequest, Acquired, Capabilities, ClientBuilder, Clock, Error, ErrorKind, ExpiryJudge, Grant, GrantId,
    HolderId, Lease, LeaseClient, LeaseName, LeaseStore, Moment,
};

use crate::{
    AnswerSwap, ChaosStore, Fault, Harness, Injection, Operation, RecordLock,
    between_neighbours::BetweenNeighbours,
    calls::{acquired, granted, inspected},
};

/// A harness, with the helpers that all cases share.
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

    /// Opens a store as another process would.
    pub(crate) async fn store(&self) -> Arc<dyn LeaseStore> {
        let store = self.harness.store().await;
        if self.between_neighbours.load(Ordering::Relaxed) { Arc::new(BetweenNeighbours(store)) } else { store }
    }

    /// Sends no request alone from now on: stores that are opened later put each between two neighbours.
    pub(crate) fn between_neighbours(&self) {
        self.between_neighbours.store(true, Ordering::Relaxed);
    }

    /// Opens a store that can inject faults, and that [`Bench::freeze`] and [`Bench::cut`] affect.
    pub(crate) async fn chaos_store(&self) -> ChaosStore {
        let chaos = ChaosStore::new(self.store().await, Arc::clone(&self.clock), 0);
        self.chaos.lock().unwrap_or_else(PoisonError::into_inner).push(chaos.clone());
        chaos
    }

    fn each_chaos(&self, change: impl Fn(&ChaosStore)) {
        self.chaos.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(change);
    }

    /// Freezes the store. Where there is no server, freezes each [`Bench::chaos_store`].
    pub(crate) async fn freeze(&self) {
        if self.harness.freeze().await == Injection::Unsupported {
            self.assert_lives_in_this_process("freeze").await;
            self.each_chaos(ChaosStore::freeze);
        }
    }

    pub(crate) async fn thaw(&self) {
        self.harness.thaw().await;
        self.each_chaos(ChaosStore::thaw);
    }

    /// Cuts the store off. Where there is no network, cuts off each [`Bench::chaos_store`].
    pub(crate) async fn cut(&self) {
        if self.harness.cut().await == Injection::Unsupported {
            self.assert_lives_in_this_process("cut").await;
            self.each_chaos(ChaosStore::cut);
        }
    }

    /// Asserts that this error of an attempt that lost a race is allowed: only with slow commits, where the record may stay
    /// locked for longer than an attempt waits.
    pub(crate) fn assert_is_locked(&self, error: &Error) {
        assert!(self.harness.commits_slowly() && error.kind() == ErrorKind::Unavailable, "{error}");
    }

    /// Loses answers, if there is a network.
    pub(crate) async fn lose_answers(&self) -> Injection {
        let injection = self.harness.lose_answers().await;
        if injection == Injection::Unsupported {
            self.assert_lives_in_this_process("lose_answers").await;
        }
        injection
    }

    /// Delays answers. Where there is no network, each [`Bench::chaos_store`] delays one answer of each operation.
    pub(crate) async fn delay_answers(&self, delay: Duration) {
        if self.harness.delay_answers(delay).await == Injection::Unsupported {
            self.assert_lives_in_this_process("delay_answers").await;
            for operation in [Operation::Acquire, Operation::Renew] {
                self.each_chaos(|chaos| chaos.inject(Fault::DelayAnswer(delay).on(operation).once()));
            }
        }
    }

    /// Delays requests, if there is a network on which the harness can.
    pub(crate) async fn delay_requests(&self, delay: Duration) -> Injection {
        // Before the delay: it opens a store.
        let extends = self.capabilities().await.extends_late_renewals;
        let injection = self.harness.delay_requests(delay).await;
        assert!(
            injection == Injection::Done || !extends,
            "the store declares that late renewals extend: its harness must implement `delay_requests`"
        );
        injection
    }

    pub(crate) async fn set_clock_back(&self, by: Duration) -> Injection {
        self.harness.set_clock_back(by).await
    }

    pub(crate) async fn heal(&self) {
        self.harness.heal().await;
        self.each_chaos(ChaosStore::heal);
    }

    /// Restarts the server, if there is one.
    pub(crate) async fn restart(&self) -> Injection {
        let injection = self.harness.restart().await;
        if injection == Injection::Unsupported {
            self.assert_lives_in_this_process("restart").await;
            assert!(
                !self.capabilities().await.tokens_survive.restart,
                "a store that cannot restart must not declare that tokens survive it"
            );
        }
        injection
    }

    /// Kills the server and starts it again, if the harness can.
    pub(crate) async fn crash(&self) -> Injection {
        let injection = self.harness.crash().await;
        let survive = self.capabilities().await.grants_survive_crash;
        assert!(
            injection == Injection::Done || !survive,
            "the store declares that grants survive a crash: its harness must implement `crash`"
        );
        injection
    }

    pub(crate) async fn back_up(&self) -> Injection {
        let injection = self.harness.back_up().await;
        let survive = self.capabilities().await.tokens_survive.data_loss;
        assert!(
            injection == Injection::Done || !survive,
            "the store declares that tokens survive a loss of data: its harness must implement `back_up` and `restore_backup`"
        );
        injection
    }

    pub(crate) async fn restore_backup(&self) {
        self.harness.restore_backup().await;
    }

    pub(crate) async fn lock_record(&self, name: &LeaseName) -> Option<Box<dyn RecordLock>> {
        self.harness.lock_record(name).await
    }

    pub(crate) async fn answer_swap(&self) -> Option<Box<dyn AnswerSwap>> {
        self.harness.answer_swap().await
    }

    pub(crate) async fn remove_record(&self, name: &LeaseName) -> Injection {
        self.harness.remove_record(name).await
    }

    async fn assert_lives_in_this_process(&self, fault: &str) {
        let judge = self.capabilities().await.expiry_judge;
        assert_eq!(judge, ExpiryJudge::Process, "the harness of a store with a server must implement `{fault}`");
    }

    pub(crate) async fn capabilities(&self) -> Capabilities {
        self.store().await.capabilities()
    }

    pub(crate) fn tolerance(&self) -> Duration {
        self.harness.tolerance()
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Sleeps for this long.
    pub(crate) async fn sleep(&self, duration: Duration) {
        self.clock.sleep_until(self.clock.now() + duration).await;
    }

    /// Returns the outcome of the future. Panics if it takes longer than a ttl and the tolerance of the harness.
    pub(crate) async fn expect_soon<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        self.expect_within(what, self.ttl + self.tolerance(), future).await
    }

    /// Returns the outcome of the future. Panics if it takes longer than `limit`.
    pub(crate) async fn expect_within<T>(&self, what: &str, limit: Duration, future: impl Future<Output = T>) -> T {
        match self.timeout(limit, future).await {
            Some(outcome) => outcome,
            None => panic!("{what}: no outcome within {limit:?}"),
        }
    }

    /// Returns the outcome of the future, or drops the future and returns `None` after `limit`.
    pub(crate) async fn timeout<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        let deadline = self.clock.now() + limit;
        tokio::select! {
            biased;
            outcome = future => Some(outcome),
            () = self.clock.sleep_until(deadline) => None,
        }
    }

    /// Calls `ask` until it returns a value. Panics after `limit`.
    pub(crate) async fn poll<T>(&self, what: &str, limit: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
        let deadline = self.now() + limit;
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            assert!(self.now() < deadline, "{what}: not within {limit:?}");
            self.sleep(Duration::from_millis(5)).await;
        }
    }

    /// Returns a client with a store and a holder id of its own, as another process would have.
    pub(crate) async fn client(&self) -> LeaseClient {
        self.client_of(self.store().await)
    }

    /// Returns a client of this store.
    pub(crate) fn client_of(&self, store: impl LeaseStore) -> LeaseClient {
        self.builder_of(store).build()
    }

    /// Returns a builder for a client with a store of its own.
    pub(crate) async fn builder(&self) -> ClientBuilder {
        self.builder_of(self.store().await)
    }

    /// Returns a builder for a client of this store.
    pub(crate) fn builder_of(&self, store: impl LeaseStore) -> ClientBuilder {
        LeaseClient::builder(store).holder(self.holder()).clock(Arc::clone(&self.clock))
    }

    /// Waits until the name is free for this client, and acquires it.
    pub(crate) async fn acquire_within(&self, client: &LeaseClient, name: &LeaseName, limit: Duration) -> Lease {
        let lease = self.expect_within("the name becomes free", limit, client.acquire(name, self.ttl)).await;
        lease.expect("acquire answers")
    }

    /// Returns a holder id that is different with each call.
    pub(crate) fn holder(&self) -> HolderId {
        let number = self.holders.fetch_add(1, Ordering::Relaxed);
        HolderId::new(format!("holder-{number}")).expect("a valid holder")
    }

    /// Returns a request with a new holder and a new nonce.
    pub(crate) fn request(&self, name: &LeaseName) -> AcquireRequest {
        AcquireRequest::new(name.clone(), self.holder(), GrantId::random(), self.ttl)
    }

    /// Returns the longest that a grant of this ttl may last, given the granularity of the store.
    pub(crate) fn rounded(&self, ttl: Duration, capabilities: &Capabilities) -> Duration {
        let step = capabilities.ttl_granularity.as_nanos().max(1);
        let nanos = ttl.as_nanos().div_ceil(step) * step;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Acquires a name that has expired for another process. Where processes disagree about the expiry, waits until it has expired
    /// for this one as well.
    pub(crate) async fn granted_after_expiry(&self, store: &dyn LeaseStore, request: &AcquireRequest) -> Grant {
        if store.capabilities().agrees_on_expiry {
            return granted(store, request).await;
        }
        self.poll("the lease expires for this process, too", self.ttl * 2 + self.tolerance(), async || match acquired(
            store, request,
        )
        .await
        {
            Acquired::Granted(grant) => Some(grant),
            Acquired::Held { .. } => None,
            other => panic!("{other:?}"),
        })
        .await
    }

    /// Returns the longest time after which the store may say to try again for a lease of this ttl.
    pub(crate) fn longest_retry(&self, ttl: Duration, capabilities: &Capabilities) -> Duration {
        let longest = self.rounded(ttl, capabilities);
        match capabilities.expiry_judge {
            // It must be watched for `T·(1+ρ) + m` (S2).
            ExpiryJudge::Contenders => {
                longest.mul_f64(1.01) + (longest / 100).max(Duration::from_millis(50)).min(longest / 4)
            }
            _ => longest,
        }
    }

    /// Waits until the store reports the name as free.
    pub(crate) async fn wait_until_free(&self, store: &dyn LeaseStore, name: &LeaseName) {
        let limit = self.ttl * 2 + self.tolerance();
        self.poll("the lease expires", limit, async || match inspected(store, name).await {
            None => Some(()),
            Some(_) => None,
        })
        .await;
    }
}
