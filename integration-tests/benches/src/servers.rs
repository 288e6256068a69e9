//! The servers on which all contenders are measured.

use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;
use integration_tests::{
    Consul, Etcd, KubeApiserver, ObjectStorage, Postgres, Redis, RedisCluster, ZooKeeper, http_request,
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::open::{BUCKET, on_kubernetes, on_object_storage};

/// The kind of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StoreKind {
    Memory,
    Postgres,
    Redis,
    /// Of three servers.
    RedisCluster,
    Etcd,
    File,
    Consul,
    #[value(name = "zookeeper")]
    ZooKeeper,
    Kubernetes,
    /// A fake of Amazon S3.
    ObjectStorage,
}

impl StoreKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Postgres => "PostgreSQL",
            Self::Redis => "Redis",
            Self::RedisCluster => "Redis Cluster",
            Self::Etcd => "etcd",
            Self::File => "directory",
            Self::Consul => "Consul",
            Self::ZooKeeper => "ZooKeeper",
            Self::Kubernetes => "Kubernetes",
            Self::ObjectStorage => "object storage",
        }
    }

    /// Returns whether each lease is a document, written on condition of its version: by a request of its own.
    pub(crate) const fn is_document(self) -> bool {
        matches!(self, Self::File | Self::Consul | Self::ZooKeeper | Self::Kubernetes | Self::ObjectStorage)
    }

    /// Returns how many servers share the leases.
    pub(crate) const fn servers(self) -> f64 {
        if matches!(self, Self::RedisCluster) { 3.0 } else { 1.0 }
    }

    /// Returns whether a release wakes the waiters of other clients, which otherwise poll.
    pub(crate) const fn has_push(self) -> bool {
        !matches!(self, Self::File | Self::ObjectStorage)
    }

    /// Returns the URL of the store on the server with this URL.
    pub(crate) fn as_store(self, url: &str) -> String {
        match self {
            Self::Etcd => url.replacen("http:", "etcd:", 1),
            Self::Consul => url.replacen("http:", "consul:", 1),
            _ => url.to_owned(),
        }
    }
}

/// A server that runs until this is dropped.
pub(crate) enum Server {
    None,
    Postgres(Postgres),
    Redis(Redis),
    RedisCluster(RedisCluster),
    Etcd(Etcd),
    Directory(TempDir),
    Consul(Consul),
    ZooKeeper(ZooKeeper),
    /// With the file of its authority.
    Kubernetes(KubeApiserver, PathBuf),
    ObjectStorage(ObjectStorage),
}

impl Server {
    /// Starts the server of this kind of store as in production: PostgreSQL with `fsync`. A directory is in `TMPDIR`.
    pub(crate) async fn start(kind: StoreKind) -> Result<Self> {
        Ok(match kind {
            StoreKind::Memory => Self::None,
            StoreKind::Postgres => {
                let settings = [("fsync", "on"), ("synchronous_commit", "on"), ("max_connections", "400")];
                Self::Postgres(Postgres::try_start(&settings).await?)
            }
            StoreKind::Redis => Self::Redis(Redis::try_start(&[]).await?),
            // Without what its tests want beyond that of a single server: that each write is on the disk.
            StoreKind::RedisCluster => Self::RedisCluster(RedisCluster::start_with(3, &[("appendonly", "no")]).await?),
            StoreKind::Etcd => Self::Etcd(Etcd::try_start(&[]).await?),
            StoreKind::File => Self::Directory(tempfile::tempdir()?),
            StoreKind::Consul => Self::Consul(Consul::try_start(&[]).await?),
            StoreKind::ZooKeeper => Self::ZooKeeper(ZooKeeper::try_start(&[]).await?),
            StoreKind::Kubernetes => {
                Self::Kubernetes(KubeApiserver::try_start(&[]).await?, KubeApiserver::authority().await?)
            }
            StoreKind::ObjectStorage => {
                let server = ObjectStorage::try_start(&[]).await?;
                http_request(server.url(), "PUT", &format!("/{BUCKET}"), &[], "").await?;
                Self::ObjectStorage(server)
            }
        })
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Postgres(server) => server.url().to_owned(),
            Self::Redis(server) => server.url().to_owned(),
            Self::RedisCluster(servers) => servers.url(),
            Self::Etcd(server) => server.url().to_owned(),
            Self::Directory(directory) => format!("file://{}", directory.path().display()),
            Self::Consul(server) => server.url().to_owned(),
            Self::ZooKeeper(server) => server.url().to_owned(),
            Self::Kubernetes(server, authority) => on_kubernetes(server.url(), authority),
            Self::ObjectStorage(server) => on_object_storage(server.url()),
        }
    }
}
