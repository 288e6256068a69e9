//! What the stores on `lease-document` have in common.

use std::time::Duration;

use async_trait::async_trait;
use lease_core::Result;
use lease_document::{DocumentStore, Documents, Purged};

use crate::Admin;

/// Nothing has to be created.
#[async_trait]
impl<D: Documents> Admin for DocumentStore<D> {
    async fn purge(&self, older_than: Duration) -> Result<u64> {
        DocumentStore::purge(self, "", older_than).await.map(count)
    }
}

/// Returns the number of names of which a purge has removed something.
pub(super) fn count(purged: Purged) -> u64 {
    u64::try_from(purged.deleted + purged.reduced).unwrap_or(u64::MAX)
}
