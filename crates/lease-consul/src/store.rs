//! The store.

use std::time::Duration;

use lease_core::{LeaseName, Result};
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

lease_document::lease_store!(ConsulStore);
