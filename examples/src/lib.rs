//! What all examples share: the choice of the store.

use anyhow::Result;
use clap::Parser;
use lease_core::LeaseClient;

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
        let opened = lease_url::open(&self.store).await?;
        opened.admin.migrate().await?;
        Ok(LeaseClient::new(opened.store))
    }
}
