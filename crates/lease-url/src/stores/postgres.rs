use std::time::Duration;

use async_trait::async_trait;
use lease_core::Result;
use lease_postgres::PostgresStore;

use crate::{Admin, Opened};

pub(crate) async fn open(url: &str) -> Result<Opened> {
    Ok(Opened::new(PostgresStore::connect(url).await?))
}

#[async_trait]
impl Admin for PostgresStore {
    async fn migrate(&self) -> Result<()> {
        PostgresStore::migrate(self).await
    }

    fn ddl(&self) -> Option<String> {
        Some(PostgresStore::ddl(self))
    }

    async fn purge(&self, older_than: Duration) -> Result<u64> {
        PostgresStore::purge(self, older_than).await
    }
}
