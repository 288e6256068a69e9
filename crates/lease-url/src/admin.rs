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

    /// Removes the records of names whose lease ended this long ago, and returns their number. A store that removes them by itself
    /// removes none.
    ///
    /// # Errors
    ///
    /// Those of the store.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was removed stays removed.
    async fn purge(&self, _older_than: Duration) -> Result<u64> {
        Ok(0)
    }
}
