//! The advisory locks of PostgreSQL by sqlx: a session for each lock, no ttl, no token, and nothing is written (no WAL), so
//! that it is no equal of a lease; it shows what the round trips cost.

use anyhow::{Context, Result};
use async_trait::async_trait;
use sqlx::{
    Either, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgAdvisoryLock, PgAdvisoryLockGuard, PgPoolOptions},
};

use crate::contender::{Contender, Held, Resource};

pub(crate) const NAME: &str = "advisory lock";

pub(crate) struct AdvisoryLock(PgPool);

impl AdvisoryLock {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        Ok(Self(PgPoolOptions::new().max_connections(32).connect(url).await?))
    }
}

#[async_trait]
impl Contender for AdvisoryLock {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn resource(&self, name: &str) -> Result<Box<dyn Resource>> {
        Ok(Box::new(Name { pool: self.0.clone(), lock: PgAdvisoryLock::new(name) }))
    }
}

struct Name {
    pool: PgPool,
    lock: PgAdvisoryLock,
}

#[async_trait]
impl Resource for Name {
    async fn lock_free(&self) -> Result<Box<dyn Held>> {
        match self.lock.try_acquire(self.pool.acquire().await?).await? {
            Either::Left(guard) => Ok(Box::new(Guard(guard))),
            Either::Right(_) => anyhow::bail!("it is not free"),
        }
    }

    async fn lock(&self) -> Result<Box<dyn Held>> {
        Ok(Box::new(Guard(self.lock.acquire(self.pool.acquire().await?).await?)))
    }
}

struct Guard(PgAdvisoryLockGuard<PoolConnection<Postgres>>);

#[async_trait]
impl Held for Guard {
    async fn release(self: Box<Self>) -> Result<()> {
        self.0.release_now().await.map(drop).context("the session has ended")
    }

    async fn crash(self: Box<Self>) -> Result<()> {
        anyhow::bail!("it has no expiry: the end of the session is its end")
    }
}
