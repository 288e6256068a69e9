use std::time::Duration;

use async_trait::async_trait;
use lease_core::Result;
use lease_object_store::ObjectLeaseStore;

use super::document::count;
use crate::{Admin, Opened};

pub(crate) async fn open(url: &str) -> Result<Opened> {
    Ok(Opened::new(ObjectLeaseStore::connect(url).await?))
}

#[async_trait]
impl Admin for ObjectLeaseStore {
    async fn purge(&self, older_than: Duration) -> Result<u64> {
        ObjectLeaseStore::purge(self, "", older_than).await.map(count)
    }
}
