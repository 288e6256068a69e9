//! The store.

use std::time::Duration;

use lease_core::{LeaseName, Result};
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

lease_document::lease_store!(CosmosStore);
