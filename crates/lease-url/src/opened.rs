//! An open store.

use std::sync::Arc;

use lease_core::LeaseStore;

use crate::Admin;

/// An open store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Opened {
    /// The store, for [`LeaseClient::new`](lease_core::LeaseClient::new).
    pub store: Arc<dyn LeaseStore>,
    /// The same store, for its operator.
    pub admin: Arc<dyn Admin>,
}

impl Opened {
    #[cfg(any(
        feature = "memory",
        feature = "postgres",
        feature = "redis",
        feature = "etcd",
        feature = "file",
        feature = "zookeeper"
    ))]
    pub(crate) fn new(store: impl LeaseStore + Admin) -> Self {
        let store = Arc::new(store);
        Self { store: store.clone(), admin: store }
    }
}
