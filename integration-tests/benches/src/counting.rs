//! A store that counts its calls.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use lease_core::{
    AcquireRequest, Acquired, Break, Capabilities, FencingToken, LeaseName, LeaseRecord, LeaseStore, ReleaseRequest,
    Released, RenewRequest, Renewed, Result, Revocations, Wakeups,
};

/// The number of calls of one operation, and of the requests in them.
#[derive(Debug, Default)]
pub(crate) struct Count {
    calls: AtomicU64,
    requests: AtomicU64,
}

impl Count {
    fn add(&self, requests: usize) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(requests as u64, Ordering::Relaxed);
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// The numbers of calls of a store.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) acquire: Count,
    pub(crate) renew: Count,
    pub(crate) release: Count,
    pub(crate) look: Count,
}

impl Counts {
    pub(crate) fn calls(&self) -> u64 {
        self.acquire.calls() + self.renew.calls() + self.release.calls() + self.look.calls()
    }
}

/// Forwards every call to another store and counts it. It keeps no other data, so that memory can be measured.
#[derive(Debug, Clone)]
pub(crate) struct CountingStore {
    inner: Arc<dyn LeaseStore>,
    counts: Arc<Counts>,
}

impl CountingStore {
    pub(crate) fn new(inner: Arc<dyn LeaseStore>) -> (Self, Arc<Counts>) {
        let counts = Arc::new(Counts::default());
        (Self { inner, counts: Arc::clone(&counts) }, counts)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl LeaseStore for CountingStore {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        self.counts.acquire.add(requests.len());
        self.inner.acquire(requests).await
    }

    async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        self.counts.renew.add(requests.len());
        self.inner.renew(requests).await
    }

    async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        self.counts.release.add(requests.len());
        self.inner.release(requests).await
    }

    async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        self.counts.look.add(1);
        self.inner.inspect(name).await
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        self.counts.look.add(1);
        self.inner.list(prefix, after, limit).await
    }

    async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
        self.inner.break_lease(name, token, how).await
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
