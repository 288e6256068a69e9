//! `ash-lock` on etcd: <https://docs.rs/ash-lock>. An etcd lease and a task for each lock, a token; waiters poll.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use ash_lock::{EtcdBackend, LockClient, LockConfig, LockGuard};
use async_trait::async_trait;

use crate::contender::{Contender, Held, Resource};

pub(crate) const NAME: &str = "ash-lock";

pub(crate) struct AshLock(LockClient);

impl AshLock {
    pub(crate) async fn connect(url: &str, ttl: Duration) -> Result<Self> {
        let backend = Arc::new(EtcdBackend::connect([url], None).await?);
        let config = LockConfig { default_ttl: ttl, watchdog_interval: ttl / 2, ..LockConfig::default() };
        Ok(Self(LockClient::connect_with(config, backend).await?))
    }
}

#[async_trait]
impl Contender for AshLock {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn resource(&self, name: &str) -> Result<Box<dyn Resource>> {
        Ok(Box::new(Name { client: self.0.clone(), name: name.to_owned() }))
    }
}

struct Name {
    client: LockClient,
    name: String,
}

#[async_trait]
impl Resource for Name {
    async fn lock_free(&self) -> Result<Box<dyn Held>> {
        self.lock().await
    }

    async fn lock(&self) -> Result<Box<dyn Held>> {
        Ok(Box::new(Guard(self.client.lock(&self.name).await.acquire().await?)))
    }
}

struct Guard(LockGuard);

#[async_trait]
impl Held for Guard {
    async fn release(self: Box<Self>) -> Result<()> {
        Ok(self.0.unlock().await?)
    }

    async fn crash(self: Box<Self>) -> Result<()> {
        anyhow::bail!("its guard releases when it is dropped")
    }
}
