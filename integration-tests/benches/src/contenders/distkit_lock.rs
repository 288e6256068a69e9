//! The mutex of `distkit`: <https://docs.rs/distkit>. A task for each lock renews it; waiters poll; no token.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use async_trait::async_trait;
use distkit::{
    DistkitRedisKey,
    lock::{LockOptions, Mutex, MutexGuard},
};
use redis::aio::ConnectionManager;

use crate::contender::{Contender, Held, Resource};

pub(crate) const NAME: &str = "distkit";

pub(crate) struct Distkit {
    connection: ConnectionManager,
    ttl: Duration,
}

impl Distkit {
    pub(crate) async fn connect(url: &str, ttl: Duration) -> Result<Self> {
        Ok(Self { connection: redis::Client::open(url)?.get_connection_manager().await?, ttl })
    }
}

#[async_trait]
impl Contender for Distkit {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn resource(&self, name: &str) -> Result<Box<dyn Resource>> {
        // Its keys have no slashes.
        let key = DistkitRedisKey::try_from(name.replace('/', "_"))?;
        let options = LockOptions::builder(key, self.connection.clone()).ttl(self.ttl).build();
        Ok(Box::new(Name(Mutex::new(options))))
    }
}

struct Name(Arc<Mutex>);

#[async_trait]
impl Resource for Name {
    async fn lock_free(&self) -> Result<Box<dyn Held>> {
        Ok(Box::new(Guard(self.0.try_lock().await?)))
    }

    async fn lock(&self) -> Result<Box<dyn Held>> {
        Ok(Box::new(Guard(self.0.lock().await?)))
    }
}

struct Guard(MutexGuard);

#[async_trait]
impl Held for Guard {
    async fn release(self: Box<Self>) -> Result<()> {
        self.0.release().await?;
        Ok(())
    }

    async fn crash(self: Box<Self>) -> Result<()> {
        anyhow::bail!("its guard releases when it is dropped")
    }
}
