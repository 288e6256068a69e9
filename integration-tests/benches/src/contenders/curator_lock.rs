//! The mutex of Curator, as zookeeper-client has it: an ephemeral sequential node for each contender, which waits for the end of
//! the one before. <https://curator.apache.org/docs/recipes-shared-reentrant-lock>.

use std::mem;

use anyhow::{Result, bail};
use async_trait::async_trait;
use zookeeper_client::{Acls, Client, CreateMode, LockOptions, LockPrefix, OwnedLockClient};

use crate::contender::{Contender, Held, Resource};

pub(crate) const NAME: &str = "Curator's mutex";

pub(crate) struct CuratorLock {
    client: Client,
}

impl CuratorLock {
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        Ok(Self { client: Client::connect(address).await? })
    }
}

#[async_trait]
impl Contender for CuratorLock {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn resource(&self, name: &str) -> Result<Box<dyn Resource>> {
        let directory = format!("/curator/{}", name.replace('/', "-"));
        self.client.mkdir(&directory, &CreateMode::Persistent.with_acls(Acls::anyone_all())).await?;
        Ok(Box::new(Name { client: self.client.clone(), directory }))
    }
}

struct Name {
    client: Client,
    directory: String,
}

#[async_trait]
impl Resource for Name {
    async fn lock_free(&self) -> Result<Box<dyn Held>> {
        // The recipe has no other way.
        self.lock().await
    }

    async fn lock(&self) -> Result<Box<dyn Held>> {
        let prefix = LockPrefix::new_curator(&self.directory, "lock-")?;
        let lock = self.client.lock(prefix, b"", LockOptions::new(Acls::anyone_all())).await?;
        Ok(Box::new(Guard(lock.into_owned())))
    }
}

struct Guard(OwnedLockClient);

#[async_trait]
impl Held for Guard {
    async fn release(self: Box<Self>) -> Result<()> {
        self.0.client().delete(self.0.lock_path(), None).await?;
        // When it is dropped, it deletes its node once more.
        mem::forget(self.0);
        Ok(())
    }

    async fn crash(self: Box<Self>) -> Result<()> {
        bail!("its session is shared")
    }
}
