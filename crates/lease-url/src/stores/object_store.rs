use std::time::Duration;

use async_trait::async_trait;
use lease_core::Result;
use lease_object_store::ObjectLeaseStore;

use crate::{Admin, Opened};

pub(crate) async fn open(url: &str) -> Result<Opened> {
    Ok(Opened::new(ObjectLeaseStore::connect(url).await?))
}

#[async_trait]
impl Admin for ObjectLeaseStore {
    async fn purge(&self, older_than: Duration) -> Result<u64> {
        let purged = ObjectLeaseStore::purge(self, "", older_than).await?;
        Ok(u64::try_from(purged.deleted + purged.reduced).unwrap_or(u64::MAX))
    }
}
