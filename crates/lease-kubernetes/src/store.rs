//! The store.

use std::time::Duration;

use lease_core::{LeaseName, Result};
use lease_document::{DocumentStore, Purged};

use crate::objects::Objects;

/// Keeps leases in the Lease objects of a namespace. Clones share what they know of the objects, and one watch.
#[derive(Debug, Clone)]
pub struct KubernetesStore(DocumentStore<Objects>);

impl KubernetesStore {
    pub(crate) fn new(store: DocumentStore<Objects>) -> Self {
        Self(store)
    }

    /// Returns the namespace of the Leases.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0.documents().namespace()
    }

    /// Returns the name of the Lease object of a name, for `kubectl get lease`.
    #[must_use]
    pub fn object_name(&self, name: &LeaseName) -> String {
        self.0.documents().object_name(name)
    }

    /// Returns how wide the interval is in which the clocks of the API servers lie, for a gauge; see
    /// [`DocumentStore::clock_uncertainty`].
    #[must_use]
    pub fn clock_uncertainty(&self) -> Option<Duration> {
        self.0.clock_uncertainty()
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
        self.0.purge(prefix, older_than).await
    }
}

lease_document::lease_store!(KubernetesStore);
