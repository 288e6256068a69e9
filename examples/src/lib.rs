//! What all examples share: the choice of the store.

use std::sync::{Arc, LazyLock};

use anyhow::{Result, bail};
use clap::Parser;
use lease_core::{LeaseClient, LeaseStore};
use lease_memory::MemoryStore;

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
        Ok(LeaseClient::new(open(&self.store).await?))
    }
}

/// All clients of `memory:` share one store, as they share a server.
static MEMORY: LazyLock<MemoryStore> = LazyLock::new(MemoryStore::new);

async fn open(url: &str) -> Result<Arc<dyn LeaseStore>> {
    match url.split_once(':').map_or(url, |(scheme, _)| scheme) {
        "memory" => Ok(Arc::new(MEMORY.clone())),
        "postgres" | "postgresql" => postgres(url).await,
        scheme if scheme.starts_with("redis") || scheme.starts_with("valkey") => redis(url).await,
        "etcd" => etcd(url).await,
        scheme => bail!("no store has the scheme {scheme:?}: use memory:, postgres://…, redis://… or etcd://…"),
    }
}

#[cfg(feature = "postgres")]
async fn postgres(url: &str) -> Result<Arc<dyn LeaseStore>> {
    let store = lease_postgres::PostgresStore::connect(url).await?;
    store.migrate().await?;
    Ok(Arc::new(store))
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_url: &str) -> Result<Arc<dyn LeaseStore>> {
    bail!("PostgreSQL is not built in: run with `--features postgres`")
}

#[cfg(feature = "redis")]
async fn redis(url: &str) -> Result<Arc<dyn LeaseStore>> {
    Ok(Arc::new(lease_redis::RedisStore::connect(url).await?))
}

#[cfg(not(feature = "redis"))]
async fn redis(_url: &str) -> Result<Arc<dyn LeaseStore>> {
    bail!("Redis is not built in: run with `--features redis`")
}

#[cfg(feature = "etcd")]
async fn etcd(url: &str) -> Result<Arc<dyn LeaseStore>> {
    let endpoints = url.trim_start_matches("etcd://").trim_end_matches('/').split(',');
    Ok(Arc::new(lease_etcd::EtcdStore::connect(endpoints).await?))
}

#[cfg(not(feature = "etcd"))]
async fn etcd(_url: &str) -> Result<Arc<dyn LeaseStore>> {
    bail!("etcd is not built in: run with `--features etcd`")
}
