//! The lock service of etcd, by etcd-client: a lease for each lock, revoked at the release.

use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use etcd_client::{Client, LockOptions};

use crate::contender::{Contender, Held, Resource};

pub(crate) const NAME: &str = "lock service";

#[derive(Clone)]
pub(crate) struct LockService {
    client: Client,
    ttl: i64,
}

impl LockService {
    pub(crate) async fn connect(url: &str, ttl: Duration) -> Result<Self> {
        Ok(Self { client: Client::connect([url], None).await?, ttl: i64::try_from(ttl.as_secs())? })
    }
}

#[async_trait]
impl Contender for LockService {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn resource(&self, name: &str) -> Result<Box<dyn Resource>> {
        Ok(Box::new(Name { service: self.clone(), name: format!("lock-service/{name}") }))
    }
}

struct Name {
    service: LockService,
    name: String,
}

#[async_trait]
impl Resource for Name {
    async fn lock_free(&self) -> Result<Box<dyn Held>> {
        // The service has no other way.
        self.lock().await
    }

    async fn lock(&self) -> Result<Box<dyn Held>> {
        let mut client = self.service.client.clone();
        let lease = client.lease_grant(self.service.ttl, None).await?.id();
        let response = client.lock(self.name.as_str(), Some(LockOptions::new().with_lease(lease))).await?;
        Ok(Box::new(Grant { client, lease, key: response.key().to_vec() }))
    }
}

struct Grant {
    client: Client,
    lease: i64,
    key: Vec<u8>,
}

#[async_trait]
impl Held for Grant {
    async fn release(mut self: Box<Self>) -> Result<()> {
        self.client.unlock(self.key).await?;
        self.client.lease_revoke(self.lease).await?;
        Ok(())
    }

    async fn crash(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
