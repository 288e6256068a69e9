//! The store.

use std::time::Duration;

use async_trait::async_trait;
use lease_core::{
    AcquireRequest, Acquired, Break, Capabilities, FencingToken, LeaseName, LeaseRecord, LeaseStore, ReleaseRequest,
    Released, RenewRequest, Renewed, Result, Revocations, Wakeups,
};
use lease_document::{DocumentStore, Purged};

use crate::documents::ConsulDocuments;

/// Keeps leases in Consul's KV store.
///
/// A store is cheap to clone, and all clones share its connections. See the [crate's page](crate) for what it promises.
#[derive(Debug, Clone)]
pub struct ConsulStore(pub(crate) DocumentStore<ConsulDocuments>);

impl ConsulStore {
    /// Returns the key of a lease, whose value is readable JSON. To delete this key is to break the lease at once.
    #[must_use]
    pub fn key(&self, name: &LeaseName) -> String {
        self.0.documents().key(name)
    }

    /// Deletes the keys of names that begin with `prefix` and whose last grant ended at least `older_than` ago. Tokens keep
    /// rising.
    ///
    /// `older_than` must be longer than any request can be in flight: a delayed duplicate of such a grant would be granted again
    /// (S13). Where [contenders](lease_core::ExpiryJudge::Contenders) judge expiry, only keys are deleted that this store has
    /// observed unchanged for that long, so a program that purges calls this again and again.
    ///
    /// # Errors
    ///
    /// Those of a request to Consul. What was deleted until then stays deleted.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: each key is deleted by itself, on condition that nobody has changed it.
    pub async fn purge(&self, prefix: &str, older_than: Duration) -> Result<Purged> {
        self.0.purge(prefix, older_than).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl LeaseStore for ConsulStore {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        self.0.acquire(requests).await
    }

    async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        self.0.renew(requests).await
    }

    async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        self.0.release(requests).await
    }

    async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        self.0.inspect(name).await
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        self.0.list(prefix, after, limit).await
    }

    async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
        self.0.break_lease(name, token, how).await
    }

    fn subscribe(&self, name: &LeaseName) -> Wakeups {
        self.0.subscribe(name)
    }

    fn revocations(&self) -> Revocations {
        self.0.revocations()
    }

    fn part_of(&self, name: &LeaseName) -> u16 {
        self.0.part_of(name)
    }
}
