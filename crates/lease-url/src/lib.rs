//! Opens a lease store by its URL, so that the configuration of a deployment chooses the store, and not the code.
//!
//! | URL | store | feature |
//! |---|---|---|
//! | `memory:` | within this process; all `memory:` of a process are one store | `memory` |
//! | `postgres://user:password@host:port/database` | [PostgreSQL](https://docs.rs/lease-postgres), also `postgresql:` | `postgres` |
//! | `redis://user:password@host:port/database` | [Redis or Valkey](https://docs.rs/lease-redis), also `rediss:`, `valkey:`, `redis-sentinel:`, `redis-cluster:` | `redis` |
//! | `etcd://host:port,host:port` | [etcd](https://docs.rs/lease-etcd) | `etcd` |
//! | `zookeeper://host:port,host:port/chroot` | [ZooKeeper](https://docs.rs/lease-zookeeper); the chroot may be left out | `zookeeper` |
//! | `file:///path` | [a directory](https://docs.rs/lease-file) that exists, for the processes of one host; special characters are percent-encoded | `file` |
//! | `k8s://namespace` | [Kubernetes](https://docs.rs/lease-kubernetes), as the pod's service account or `KUBECONFIG` says; also `kubernetes:`. The namespace may be left out: then it is that of the pod, or of the context | `kubernetes` |
//! | `consul://host:port/prefix` | [Consul](https://docs.rs/lease-consul), also `consuls:` for TLS; the token is in `CONSUL_HTTP_TOKEN`, and the prefix may be left out | `consul` |
//! | `cosmos://account.documents.azure.com/database/container` | [Cosmos DB](https://docs.rs/lease-cosmos), also `cosmos+http:` for an emulator; the key is in `COSMOS_KEY`, or percent-encoded before the host (`:KEY@`) | `cosmos` |
//! | `s3://bucket/prefix`, `az://container/prefix`, `gs://bucket/prefix` | [Amazon S3, Azure Blob Storage, Google Cloud Storage](https://docs.rs/lease-object-store); credentials from the environment; the prefix may be left out | `object-store` |
//!
//! No feature is on by default, so that a program builds only the drivers that it may need. Settings beyond the URL, such as a
//! table or a certificate, are options of each store: a program that needs them depends on the crate of its store instead. The page
//! of each store says what it needs, how it grows, and what a fail-over does.
//!
//! ```
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> lease_core::Result<()> {
//! # #[cfg(feature = "memory")] {
//! let url = std::env::var("LEASE_STORE").unwrap_or_else(|_| "memory:".to_owned());
//! let opened = lease_url::open(&url).await?;
//! // Once, with the rights to create what the store needs; a store that needs nothing does nothing.
//! opened.admin.migrate().await?;
//!
//! let client = lease_core::LeaseClient::new(opened.store);
//! let lease = client.acquire("nightly-report", Duration::from_secs(30)).await?;
//! lease.release().await?;
//! # }
//! # Ok(())
//! # }
//! ```

mod admin;
mod open;
mod opened;
mod stores;

pub use admin::Admin;
pub use open::open;
pub use opened::Opened;

// The code of the README is tested with the documentation.
#[cfg(all(doctest, feature = "memory"))]
#[doc = include_str!("../README.md")]
struct Readme;
