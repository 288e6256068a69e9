//! The lease table of `distributed`: <https://docs.rs/distributed>. It neither renews nor has tokens; waiters poll.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use async_trait::async_trait;
use distributed::{Lock as _, LockManager as _, PostgresLock, PostgresLockManager};
use sqlx::postgres::PgPoolOptions;

use crate::contender::{Contender, Held, Resource};

pub(crate) const NAME: &str = "distributed";

pub(crate) struct Distributed(PostgresLockManager);

impl Distributed {
    pub(crate) async fn connect(url: &str, ttl: Duration) -> Result<Self> {
        let pool = PgPoolOptions::new().max_connections(32).connect(url).await?;
        PostgresLockManager::migrate(&pool).await?;
        Ok(Self(PostgresLockManager::new(pool).with_lease_ttl(ttl)))
    }
}

#[async_trait]
impl Contender for Distributed {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn resource(&self, name: &str) -> Result<Box<dyn Resource>> {
        Ok(Box::new(Name(self.0.get_lock(name)?)))
    }
}

struct Name(Arc<PostgresLock>);

#[async_trait]
impl Resource for Name {
    async fn lock_free(&self) -> Result<Box<dyn Held>> {
        ensure!(self.0.try_lock().await?, "it is not free");
        Ok(Box::new(Guard(Arc::clone(&self.0))))
    }

    async fn lock(&self) -> Result<Box<dyn Held>> {
        self.0.lock().await?;
        Ok(Box::new(Guard(Arc::clone(&self.0))))
    }
}

struct Guard(Arc<PostgresLock>);

#[async_trait]
impl Held for Guard {
    async fn release(self: Box<Self>) -> Result<()> {
        Ok(self.0.unlock().await?)
    }

    async fn crash(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
