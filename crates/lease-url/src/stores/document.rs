//! What the stores on `lease-document` have in common.

use std::time::Duration;

use async_trait::async_trait;
use lease_core::Result;
use lease_document::{DocumentStore, Documents};

use crate::Admin;

/// Nothing has to be created.
#[async_trait]
impl<D: Documents> Admin for DocumentStore<D> {
    async fn purge(&self, older_than: Duration) -> Result<u64> {
        let purged = DocumentStore::purge(self, "", older_than).await?;
        Ok(u64::try_from(purged.deleted + purged.reduced).unwrap_or(u64::MAX))
    }
}
