//! The servers on which all contenders are measured.

use anyhow::Result;
use clap::ValueEnum;
use integration_tests::{Etcd, Postgres, Redis};
use serde::{Deserialize, Serialize};

/// The kind of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreKind {
    Memory,
    Postgres,
    Redis,
    Etcd,
}

impl StoreKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Postgres => "PostgreSQL",
            Self::Redis => "Redis",
            Self::Etcd => "etcd",
        }
    }
}

/// A server that runs until this is dropped.
pub(crate) enum Server {
    None,
    Postgres(Postgres),
    Redis(Redis),
    Etcd(Etcd),
}

impl Server {
    /// Starts the server of this kind of store as in production: PostgreSQL with `fsync`.
    pub(crate) async fn start(kind: StoreKind) -> Result<Self> {
        Ok(match kind {
            StoreKind::Memory => Self::None,
            StoreKind::Postgres => {
                let settings = [("fsync", "on"), ("synchronous_commit", "on"), ("max_connections", "400")];
                Self::Postgres(Postgres::try_start(&settings).await?)
            }
            StoreKind::Redis => Self::Redis(Redis::try_start(&[]).await?),
            StoreKind::Etcd => Self::Etcd(Etcd::try_start(&[]).await?),
        })
    }

    pub(crate) fn url(&self) -> &str {
        match self {
            Self::None => "",
            Self::Postgres(server) => server.url(),
            Self::Redis(server) => server.url(),
            Self::Etcd(server) => server.url(),
        }
    }
}
