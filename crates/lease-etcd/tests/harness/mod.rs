//! The harness of etcd.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use etcd_client::Client;
use integration_tests::{Etcd, EtcdKind, Provider, ServerHarness};
use lease_core::{GrantId, LeaseName, LeaseStore};
use lease_etcd::EtcdStoreOptions;

pub(crate) type EtcdHarness = ServerHarness<Prefix>;

/// Keeps leases under a key prefix of its own.
pub(crate) struct Prefix(EtcdStoreOptions);

#[async_trait]
impl Provider for Prefix {
    type Kind = EtcdKind;

    /// The server's minimum ttl.
    const TTL: Duration = Duration::from_secs(2);

    async fn prepare(_: &Etcd) -> Self {
        Self(EtcdStoreOptions::new().with_key_prefix(format!("leases-{}/", GrantId::random())))
    }

    async fn open(&self, url: &str) -> Arc<dyn LeaseStore> {
        Arc::new(self.0.connect([url]).await.unwrap())
    }

    async fn remove_record(&self, server: &Etcd, name: &LeaseName) {
        let mut client = Client::connect([server.url()], None).await.unwrap();
        client.delete(format!("{}{name}", self.0.key_prefix), None).await.unwrap();
    }
}
