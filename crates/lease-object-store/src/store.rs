//! The store.

use std::{fmt, time::Duration};

use lease_core::{LeaseName, Result};
use lease_document::{DocumentStore, Purged};

use crate::objects::Objects;

/// Keeps leases in a bucket or container of an object storage.
///
/// A store is cheap to clone, and all clones share its connections. See the [crate's page](crate) for what it promises.
#[derive(Clone)]
pub struct ObjectLeaseStore(DocumentStore<Objects>);

impl ObjectLeaseStore {
    pub(crate) fn new(documents: DocumentStore<Objects>) -> Self {
        Self(documents)
    }

    /// Returns the key of the object that has a lease. To delete this object is to break the lease at once.
    #[must_use]
    pub fn key(&self, name: &LeaseName) -> String {
        self.0.documents().keys.key(name)
    }

    /// Reduces the records of names that begin with `prefix` and whose last grant ended at least `older_than` ago to the token and the
    /// nonce. The objects stay, because the service cannot delete one on condition of its version; to have old ones deleted, see
    /// [lifecycle rules](crate#what-stays-behind). `older_than` must be longer than any request can be in flight.
    ///
    /// It reads every object below the prefix, and writes each that it reduces.
    ///
    /// # Errors
    ///
    /// Those of the service. What was done until then stays done.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: each record is reduced by itself, on condition that nobody has changed it.
    pub async fn purge(&self, prefix: &str, older_than: Duration) -> Result<Purged> {
        self.0.purge(prefix, older_than).await
    }

    /// Returns how wide the interval is in which the service's clock lies, or `None` if it is unknown, or not believed. Leases are
    /// taken over later by this much. For a gauge: it grows when the clock jumps, or when the servers' clocks disagree.
    #[must_use]
    pub fn clock_uncertainty(&self) -> Option<Duration> {
        self.0.clock_uncertainty()
    }
}

impl fmt::Debug for ObjectLeaseStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ObjectLeaseStore").field(self.0.documents()).finish()
    }
}

lease_document::lease_store!(ObjectLeaseStore);
