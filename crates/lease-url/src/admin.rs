//! What an operator does to a store.

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use lease_core::Result;

/// What an operator does to a store, whichever it is.
#[async_trait]
pub trait Admin: Debug + Send + Sync + 'static {
    /// Creates what the store needs, such as a table, or upgrades it. Does nothing if there is nothing to do.
    ///
    /// # Errors
    ///
    /// `Denied` if the user lacks the rights, and those of the store.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it is done as a whole or not at all, and can be repeated.
    async fn migrate(&self) -> Result<()> {
        Ok(())
    }

    /// Returns the statements of [`migrate`](Self::migrate), for an administrator to run; `None` if the store needs none.
    fn ddl(&self) -> Option<String> {
        None
    }

    /// Removes the records of names whose lease ended this long ago, or makes them smaller where the store must keep them, and returns
    /// their number. `older_than` must be longer than any request can be in flight, and at least an hour with PostgreSQL.
    ///
    /// | store | what it does |
    /// |---|---|
    /// | memory, PostgreSQL, Kubernetes, ZooKeeper | deletes the records |
    /// | Consul | deletes those that this process has observed unchanged for that long: call it again and again |
    /// | files, object storage, Cosmos DB | makes the records smaller, once each |
    /// | Redis, etcd | nothing: records end by themselves |
    ///
    /// # Errors
    ///
    /// `Invalid` if `older_than` is too short for the store, `Denied` if the user lacks the right to delete, and those of the store.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was removed stays removed.
    async fn purge(&self, _older_than: Duration) -> Result<u64> {
        Ok(0)
    }
}
