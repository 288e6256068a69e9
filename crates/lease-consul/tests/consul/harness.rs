//! The harness of Consul.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use integration_tests::{Consul, ConsulKind, Provider, ServerHarness, http_request};
use lease_consul::{ConsulStore, ConsulStoreOptions};
use lease_core::{GrantId, LeaseName, LeaseStore};

pub(crate) type ConsulHarness = ServerHarness<Prefix>;

/// Keeps leases under a key prefix of its own.
pub(crate) struct Prefix(ConsulStoreOptions);

#[async_trait]
impl Provider for Prefix {
    type Kind = ConsulKind;

    const TTL: Duration = Duration::from_secs(2);

    async fn prepare(_: &Consul) -> Self {
        Self(ConsulStoreOptions::new().with_key_prefix(format!("leases-{}/", GrantId::random())))
    }

    async fn open(&self, url: &str) -> Arc<dyn LeaseStore> {
        Arc::new(self.0.connect(url).await.unwrap())
    }

    async fn remove_record(&self, server: &Consul, name: &LeaseName) {
        let store: ConsulStore = self.0.connect(server.url()).await.unwrap();
        let path = format!("/v1/kv/{}", store.key(name));
        assert!(http_request(server.url(), "DELETE", &path, &[], "").await.unwrap().ends_with("true"));
    }
}
