//! `rslock`, on one server: <https://docs.rs/rslock>. No token; waiters poll; locks are not renewed automatically.

use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use rslock::{LockGuard, LockManager};

use crate::contender::{Contender, Held, Resource};

pub(crate) const NAME: &str = "rslock";

pub(crate) struct Rslock {
    manager: LockManager,
    ttl: Duration,
}

impl Rslock {
    pub(crate) fn new(url: &str, ttl: Duration) -> Self {
        Self { manager: LockManager::new(vec![url]), ttl }
    }
}

#[async_trait]
impl Contender for Rslock {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn resource(&self, name: &str) -> Result<Box<dyn Resource>> {
        Ok(Box::new(Name { manager: self.manager.clone(), name: format!("rslock:{name}"), ttl: self.ttl }))
    }
}

struct Name {
    manager: LockManager,
    name: String,
    ttl: Duration,
}

#[async_trait]
impl Resource for Name {
    async fn lock_free(&self) -> Result<Box<dyn Held>> {
        Ok(Box::new(Guard(LockGuard { lock: self.manager.lock(self.name.as_str(), self.ttl).await? })))
    }

    async fn lock(&self) -> Result<Box<dyn Held>> {
        Ok(Box::new(Guard(self.manager.acquire(self.name.as_str(), self.ttl).await?)))
    }
}

struct Guard(LockGuard);

#[async_trait]
impl Held for Guard {
    async fn release(self: Box<Self>) -> Result<()> {
        self.0.release().await;
        Ok(())
    }

    async fn crash(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
