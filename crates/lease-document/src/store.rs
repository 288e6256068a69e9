//! The store: leases in documents.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use lease_core::{
    AcquireRequest, Acquired, Break, Capabilities, Clock, ExpiryJudge, FencingToken, LeaseName, LeaseRecord,
    LeaseStore, ReleaseRequest, Released, RenewRequest, Renewed, Result, Revocations, SystemClock, Wakeups,
};

use crate::{
    Documents, Purged, acquire::acquire, breaking::break_lease, changes::Listener, listing, purge, release::release,
    renew::renew, shared::Shared,
};

/// Keeps leases in documents. Clones share what they know of the documents.
pub struct DocumentStore<D> {
    shared: Arc<Shared<D>>,
}

/// Builds a [`DocumentStore`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct DocumentStoreBuilder<D> {
    documents: D,
    clock: Arc<dyn Clock>,
    expiry_judge: Option<ExpiryJudge>,
}

impl<D: Documents> DocumentStoreBuilder<D> {
    /// Sets the clock of this process, which must be the clock of its clients. The default is the [`SystemClock`].
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Sets who judges expiry, in place of what the backend declares: [`ExpiryJudge::Contenders`] believes no clock of the store,
    /// and [`ExpiryJudge::ServersWallClocks`] sets another slack. All processes need the same.
    pub fn expiry_judge(self, expiry_judge: ExpiryJudge) -> Self {
        Self { expiry_judge: Some(expiry_judge), ..self }
    }

    /// Builds the store.
    #[must_use]
    pub fn build(self) -> DocumentStore<D> {
        let about = self.documents.about();
        let mut capabilities = about
            .capabilities
            .clone()
            .with_expiry_judge(self.expiry_judge.unwrap_or(about.capabilities.expiry_judge))
            .with_remembers_last_grant(true)
            .with_agrees_on_expiry(false)
            .with_extends_late_renewals(true)
            // Each is a request of its own: what is not in flight at once would wait for the others of its call.
            .with_largest_call(about.concurrency.max(1));
        // Two writes can have the same number, if the data has gone back in between.
        capabilities.displaces_after_data_loss |= about.tokens_from_versions;
        // Without a clock that is believed, only the numbers of versions tell that there were grants before.
        if capabilities.expiry_judge == ExpiryJudge::Contenders && !about.tokens_from_versions {
            capabilities.tokens_survive.removal = false;
        }
        let shared = Shared::new(self.documents, about, capabilities, self.clock);
        DocumentStore { shared: Arc::new(shared) }
    }
}

impl<D: Documents> DocumentStore<D> {
    /// Creates a store in these documents, on the system's clock, where expiry is judged as the backend declares.
    #[must_use]
    pub fn new(documents: D) -> Self {
        Self::builder(documents).build()
    }

    /// Builds a store in these documents.
    pub fn builder(documents: D) -> DocumentStoreBuilder<D> {
        DocumentStoreBuilder { documents, clock: Arc::new(SystemClock), expiry_judge: None }
    }

    /// Returns the backend.
    #[must_use]
    pub fn documents(&self) -> &D {
        &self.shared.documents
    }

    /// Returns how wide the interval is in which the store's clock lies, with the slack on both sides, or `None` if it is unknown, or
    /// not believed. Leases are taken over later by about this much. For a gauge: it grows when the clock jumps, or when the servers' clocks disagree.
    #[must_use]
    pub fn clock_uncertainty(&self) -> Option<Duration> {
        self.shared.store_time().map(crate::store_clock::StoreTime::width)
    }

    /// Removes the documents of names that begin with `prefix` and whose last grant ended at least `older_than` ago. The tokens of
    /// these names keep rising (S9): where they could not, and where the store cannot delete on condition of a version, documents
    /// are reduced to the token and the nonce.
    ///
    /// A request of such a grant that arrives even later would be granted again (S13), so `older_than` must be longer than any
    /// request can be in flight. Where contenders judge expiry, only documents are removed that this process has observed
    /// unchanged for that long: call it again and again.
    ///
    /// # Errors
    ///
    /// Those of the backend. What was done until then stays done.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: each document is removed by itself, on condition that nobody has changed it.
    pub async fn purge(&self, prefix: &str, older_than: Duration) -> Result<Purged> {
        purge::purge(&self.shared, prefix, older_than).await
    }

    /// Returns the outcomes of these requests in order. Some are in flight at once.
    async fn in_order<T>(&self, requests: Vec<impl Future<Output = T>>) -> Vec<T> {
        stream::iter(requests).buffered(self.shared.about.concurrency.max(1)).collect().await
    }

    /// Listens to the changes of the backend. Returns whether its subscription is active.
    fn listen(&self) -> bool {
        let listener: Arc<dyn Listener> = Arc::clone(&self.shared) as _;
        let listener: Weak<dyn Listener> = Arc::downgrade(&listener);
        self.shared.documents.changes().listen(listener)
    }
}

impl<D> Clone for DocumentStore<D> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<D: Documents> fmt::Debug for DocumentStore<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DocumentStore").field("documents", &self.shared.documents).finish_non_exhaustive()
    }
}

#[async_trait]
impl<D: Documents> LeaseStore for DocumentStore<D> {
    fn capabilities(&self) -> Capabilities {
        self.shared.capabilities.clone()
    }

    async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        let each: Vec<_> = requests.iter().map(|request| acquire(&self.shared, request)).collect();
        self.in_order(each).await
    }

    async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        let each: Vec<_> = requests.iter().map(|request| renew(&self.shared, request)).collect();
        self.in_order(each).await
    }

    async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        let each: Vec<_> = requests.iter().map(|request| release(&self.shared, request)).collect();
        self.in_order(each).await
    }

    async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        listing::inspect(&self.shared, name).await
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        listing::list(&self.shared, prefix, after, limit).await
    }

    async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
        break_lease(&self.shared, name, token, how).await
    }

    fn subscribe(&self, name: &LeaseName) -> Wakeups {
        let wakeups = self.shared.wakeups.subscribe(name);
        if self.listen() {
            self.shared.wakeups.wake(name);
        }
        wakeups
    }

    fn revocations(&self) -> Revocations {
        self.listen();
        self.shared.revocations.clone()
    }
}
