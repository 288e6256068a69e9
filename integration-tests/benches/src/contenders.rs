//! This library, the drivers alone, and other libraries.

pub(crate) mod advisory_lock;
pub(crate) mod ash_lock_client;
pub(crate) mod consul_lock;
pub(crate) mod curator_lock;
pub(crate) mod distkit_lock;
pub(crate) mod distributed_lock;
pub(crate) mod lock_service;
pub(crate) mod ours;
pub(crate) mod raw_consul;
pub(crate) mod raw_etcd;
pub(crate) mod raw_kubernetes;
pub(crate) mod raw_object_storage;
pub(crate) mod raw_postgres;
pub(crate) mod raw_redis;
pub(crate) mod raw_redis_rs;
pub(crate) mod raw_zookeeper;
pub(crate) mod rslock_lock;

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use lease_core::{LeaseClient, LeaseStore};

use self::{
    advisory_lock::AdvisoryLock, ash_lock_client::AshLock, consul_lock::ConsulLock, curator_lock::CuratorLock,
    distkit_lock::Distkit, distributed_lock::Distributed, lock_service::LockService, ours::Ours, raw_consul::RawConsul,
    raw_etcd::RawEtcd, raw_kubernetes::RawKubernetes, raw_object_storage::RawObjectStorage, raw_postgres::RawPostgres,
    raw_redis::RawRedis, raw_redis_rs::RawRedisRs, raw_zookeeper::RawZooKeeper, rslock_lock::Rslock,
};
use crate::{contender::Contender, servers::StoreKind};

/// Returns this library, on a store with its defaults.
pub(crate) async fn ours(kind: StoreKind, url: &str, ttl: Duration) -> Result<Box<dyn Contender>> {
    Ok(Box::new(Ours::new(LeaseClient::new(store(kind, url).await?), ttl)))
}

/// Returns this library, observed by its metrics.
pub(crate) async fn measured(kind: StoreKind, url: &str, ttl: Duration) -> Result<Box<dyn Contender>> {
    Ok(Box::new(Ours::measured(store(kind, url).await?, ttl)))
}

/// Returns this library and others twice each, as in two processes, with connections and waiters of their own.
pub(crate) async fn pairs(kind: StoreKind, url: &str, ttl: Duration) -> Result<Vec<[Box<dyn Contender>; 2]>> {
    let (one, other) = match kind {
        StoreKind::Memory => {
            let shared = store(kind, url).await?;
            let clients = [LeaseClient::new(Arc::clone(&shared)), LeaseClient::new(shared)];
            return Ok(vec![clients.map(|client| Box::new(Ours::new(client, ttl)) as Box<dyn Contender>)]);
        }
        _ => (all(kind, url, ttl).await?, all(kind, url, ttl).await?),
    };
    Ok(one.into_iter().zip(other).map(|(one, other)| [one, other]).collect())
}

/// Returns this library and others.
pub(crate) async fn all(kind: StoreKind, url: &str, ttl: Duration) -> Result<Vec<Box<dyn Contender>>> {
    let mut all = vec![ours(kind, url, ttl).await?];
    all.extend(peers(kind, url, ttl).await?);
    Ok(all)
}

/// Returns a store of this library, with its defaults.
pub(crate) async fn store(kind: StoreKind, url: &str) -> Result<Arc<dyn LeaseStore>> {
    if matches!(kind, StoreKind::Memory) {
        // Not that of the URL `memory:`, which all measurements would share.
        return Ok(Arc::new(lease_memory::MemoryStore::new()));
    }
    if matches!(kind, StoreKind::Kubernetes | StoreKind::ObjectStorage) {
        return crate::open::open(url).await;
    }
    let opened = lease_url::open(&kind.as_store(url)).await?;
    opened.admin.migrate().await?;
    Ok(opened.store)
}

/// Returns the drivers alone, that of this library first.
pub(crate) async fn drivers(kind: StoreKind, url: &str) -> Result<Vec<Box<dyn Contender>>> {
    Ok(match kind {
        StoreKind::Memory | StoreKind::File => Vec::new(),
        StoreKind::Postgres => vec![Box::new(RawPostgres::connect(url).await?)],
        StoreKind::Redis => vec![Box::new(RawRedis::connect(url).await?), Box::new(RawRedisRs::connect(url).await?)],
        StoreKind::RedisCluster => {
            vec![Box::new(RawRedis::connect(url).await?), Box::new(RawRedisRs::connect_to_cluster(url).await?)]
        }
        StoreKind::Etcd => vec![Box::new(RawEtcd::connect(url).await?)],
        StoreKind::Consul => vec![Box::new(RawConsul::new(url)?)],
        StoreKind::ZooKeeper => vec![Box::new(RawZooKeeper::connect(address(url)).await?)],
        StoreKind::Kubernetes => vec![Box::new(RawKubernetes::connect(url)?)],
        StoreKind::ObjectStorage => vec![Box::new(RawObjectStorage::connect(address(url))?)],
    })
}

/// Returns other libraries for this store.
pub(crate) async fn peers(kind: StoreKind, url: &str, ttl: Duration) -> Result<Vec<Box<dyn Contender>>> {
    Ok(match kind {
        StoreKind::Memory
        | StoreKind::File
        | StoreKind::RedisCluster
        | StoreKind::Kubernetes
        | StoreKind::ObjectStorage => Vec::new(),
        StoreKind::Postgres => {
            vec![Box::new(Distributed::connect(url, ttl).await?), Box::new(AdvisoryLock::connect(url).await?)]
        }
        StoreKind::Redis => vec![Box::new(Rslock::new(url, ttl)), Box::new(Distkit::connect(url, ttl).await?)],
        StoreKind::Etcd => {
            vec![Box::new(LockService::connect(url, ttl).await?), Box::new(AshLock::connect(url, ttl).await?)]
        }
        StoreKind::Consul => vec![Box::new(ConsulLock::new(url)?)],
        StoreKind::ZooKeeper => vec![Box::new(CuratorLock::connect(address(url)).await?)],
    })
}

/// Returns what a driver wants that knows no scheme.
fn address(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, address)| address)
}
