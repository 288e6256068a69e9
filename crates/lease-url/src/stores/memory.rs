use std::{sync::LazyLock, time::Duration};

use async_trait::async_trait;
use lease_core::{Error, ErrorKind, Result};
use lease_memory::MemoryStore;

use crate::{Admin, Opened};

/// All clients of a process share it, as the clients of a server do.
static STORE: LazyLock<MemoryStore> = LazyLock::new(MemoryStore::new);

pub(crate) fn open(url: &str) -> Result<Opened> {
    if url != "memory:" {
        return Err(Error::new(
            ErrorKind::Invalid,
            "open",
            "the URL of the memory store is memory: and nothing behind it",
        ));
    }
    Ok(Opened::new(STORE.clone()))
}

#[async_trait]
impl Admin for MemoryStore {
    async fn purge(&self, older_than: Duration) -> Result<u64> {
        Ok(u64::try_from(MemoryStore::purge(self, older_than)).unwrap_or(u64::MAX))
    }
}
