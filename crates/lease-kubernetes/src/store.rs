//! The store.

use std::time::Duration;

use async_trait::async_trait;
use lease_core::{
    AcquireRequest, Acquired, Break, Capabilities, FencingToken, LeaseName, LeaseRecord, LeaseStore, ReleaseRequest,
    Released, RenewRequest, Renewed, Result, Revocations, Wakeups,
};
use lease_document::{DocumentStore, Purged};

use crate::objects::Objects;

/// Keeps leases in the Lease objects of a namespace. Clones share what they know of the objects, and one watch.
#[derive(Debug, Clone)]
pub struct KubernetesStore {
    store: DocumentStore<Objects>,
}

impl KubernetesStore {
    pub(crate) fn new(store: DocumentStore<Objects>) -> Self {
        Self { store }
    }

    /// Returns the namespace of the Leases.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.store.documents().namespace()
    }

    /// Returns the name of the Lease object of a name, for `kubectl get lease`.
    #[must_use]
    pub fn object_name(&self, name: &LeaseName) -> String {
        self.store.documents().object_name(name)
    }

    /// Returns how wide the interval is in which the clocks of the API servers lie, for a gauge; see
    /// [`DocumentStore::clock_uncertainty`].
    #[must_use]
    pub fn clock_uncertainty(&self) -> Option<Duration> {
        self.store.clock_uncertainty()
    }

    /// Removes the Leases of names that begin with `prefix` and whose last grant ended at least `older_than` ago, which must be longer
    /// than any request can be in flight. Tokens keep rising (S9). Leases that another program has taken over stay.
    ///
    /// # Errors
    ///
    /// `Denied` if the role lacks `delete`, and those of the API server. What was done until then stays done.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: each Lease is removed by itself, on condition that nobody has changed it.
    pub async fn purge(&self, prefix: &str, older_than: Duration) -> Result<Purged> {
        self.store.purge(prefix, older_than).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl LeaseStore for KubernetesStore {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        self.store.acquire(requests).await
    }

    async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        self.store.renew(requests).await
    }

    async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        self.store.release(requests).await
    }

    async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        self.store.inspect(name).await
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        self.store.list(prefix, after, limit).await
    }

    async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
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
