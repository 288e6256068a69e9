//! What all examples share: the choice of the store.

use std::sync::Arc;

use anyhow::Result;
use clap::Parser;
use lease_core::{LeaseClient, LeaseStore};

/// The arguments of every example.
#[derive(Debug, Clone, Parser)]
pub struct Arguments {
    /// Where the leases are kept: `memory:` within this process, `postgres://user:password@host/database` when built with
    /// `--features postgres`, `redis://user:password@host/0` (also `rediss:`, `redis-sentinel:`, `redis-cluster:`) with
    /// `--features redis`, `etcd://host:port,host:port` with `--features etcd`.
    #[arg(long, default_value = "memory:")]
    pub store: String,
}

impl Arguments {
    /// Returns a client as another process would have it, with its own connections and its own holder id.
    ///
    /// # Errors
    ///
    /// When the store is unknown, not built in, or cannot be reached.
    pub async fn client(&self) -> Result<LeaseClient> {
        Ok(LeaseClient::new(self.open().await?))
    }

    /// Returns the store, for clients that are built otherwise.
    ///
    /// # Errors
    ///
    /// When the store is unknown, not built in, or cannot be reached.
    pub async fn open(&self) -> Result<Arc<dyn LeaseStore>> {
        let opened = lease_url::open(&self.store).await?;
        opened.admin.migrate().await?;
        Ok(opened.store)
    }
}
