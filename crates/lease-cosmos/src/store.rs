//! The store.

use std::time::Duration;

use async_trait::async_trait;
use lease_core::{
    AcquireRequest, Acquired, Break, Capabilities, FencingToken, LeaseName, LeaseRecord, LeaseStore, ReleaseRequest,
    Released, RenewRequest, Renewed, Result, Revocations, Wakeups,
};
use lease_document::{DocumentStore, Purged, escape};

use crate::documents::CosmosDocuments;

/// Keeps leases in a container of Cosmos DB.
///
/// A store is cheap to clone, and all clones share its connections. See the [crate's page](crate) for what it promises.
#[derive(Debug, Clone)]
pub struct CosmosStore(pub(crate) DocumentStore<CosmosDocuments>);

impl CosmosStore {
    /// Returns the id of the item of a lease, which is its partition key, too. To delete this item is to break the lease at once.
    #[must_use]
    pub fn id(&self, name: &LeaseName) -> String {
        escape(name)
    }

    /// Reduces the items of names that begin with `prefix` and whose last grant ended at least `older_than` ago to the token and the
    /// nonce. Items are not deleted: without the last token, two grants in one second could have the same.
    ///
    /// `older_than` must be longer than any request can be in flight.
    ///
    /// # Errors
    ///
    /// Those of a request to the service. What was done until then stays done.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: each item is reduced by itself, on condition that nobody has changed it.
    pub async fn purge(&self, prefix: &str, older_than: Duration) -> Result<Purged> {
        self.0.purge(prefix, older_than).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl LeaseStore for CosmosStore {
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
