//! Opening stores by URL, as an application does.

use std::sync::Arc;

use anyhow::{Result, bail};
use lease_core::LeaseStore;
use lease_etcd::EtcdStore;
use lease_postgres::PostgresStore;
use lease_redis::RedisStore;

/// Connects to `postgres://…`, `redis://…` (also Sentinel and Cluster), or `etcd://host:port,host:port`.
pub(crate) async fn open(url: &str) -> Result<Arc<dyn LeaseStore>> {
    match url.split_once(':').map_or(url, |(scheme, _)| scheme) {
        "postgres" => Ok(Arc::new(PostgresStore::connect(url).await?)),
        scheme if scheme.starts_with("redis") => Ok(Arc::new(RedisStore::connect(url).await?)),
        "etcd" => Ok(Arc::new(EtcdStore::connect(url.trim_start_matches("etcd://").split(',')).await?)),
        scheme => bail!("no store is known by {scheme:?}"),
    }
}

/// Makes what a fresh server needs before leases can be had of it.
pub(crate) async fn prepare(url: &str) -> Result<()> {
    if url.starts_with("postgres:") {
        PostgresStore::connect(url).await?.migrate().await?;
    }
    Ok(())
}
