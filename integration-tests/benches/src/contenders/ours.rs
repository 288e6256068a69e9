//! This library.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use async_trait::async_trait;
use lease_core::{Lease, LeaseClient, LeaseName, LeaseOptions, LeaseStore};
use lease_metrics::LeaseMetrics;

use crate::contender::{Contender, Held, Resource};

pub(crate) const NAME: &str = "ours";

/// With the metrics that an application exports.
pub(crate) const MEASURED: &str = "ours + metrics";

/// A client with default settings.
pub(crate) struct Ours {
    name: &'static str,
    client: LeaseClient,
    ttl: Duration,
}

impl Ours {
    pub(crate) fn new(client: LeaseClient, ttl: Duration) -> Self {
        Self { name: NAME, client, ttl }
    }

    pub(crate) fn measured(store: Arc<dyn LeaseStore>, ttl: Duration) -> Self {
        let client = LeaseClient::builder(store).observer(LeaseMetrics::facade()).build();
        Self { name: MEASURED, client, ttl }
    }
}

#[async_trait]
impl Contender for Ours {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn resource(&self, name: &str) -> Result<Box<dyn Resource>> {
        let options = LeaseOptions::new(self.ttl);
        Ok(Box::new(Name { client: self.client.clone(), name: LeaseName::new(name)?, options }))
    }
}

struct Name {
    client: LeaseClient,
    name: LeaseName,
    options: LeaseOptions,
}

#[async_trait]
impl Resource for Name {
    async fn lock_free(&self) -> Result<Box<dyn Held>> {
        let lease = self.client.try_acquire(&self.name, self.options.clone()).await?.acquired();
        Ok(Box::new(Guard(lease.context("it is not free")?)))
    }

    async fn lock(&self) -> Result<Box<dyn Held>> {
        Ok(Box::new(Guard(self.client.acquire(&self.name, self.options.clone()).await?)))
    }
}

struct Guard(Lease);

#[async_trait]
impl Held for Guard {
    async fn release(self: Box<Self>) -> Result<()> {
        self.0.release().await?;
        Ok(())
    }

    async fn crash(self: Box<Self>) -> Result<()> {
        self.0.abandon();
        Ok(())
    }
}
