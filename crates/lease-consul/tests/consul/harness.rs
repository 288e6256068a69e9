//! The harness of Consul.
#![allow(dead_code, clippy::unwrap_used, reason = "each binary uses a part of it; a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use integration_tests::{Consul, ConsulKind, Provider, ServerHarness, http_request};
use lease_consul::{ConsulStore, ConsulStoreOptions};
use lease_core::{GrantId, LeaseName, LeaseStore};

/// Contenders judge expiry.
pub(crate) type ConsulHarness = ServerHarness<Prefix<false>>;

/// The clock of the server judges expiry.
pub(crate) type ClockHarness = ServerHarness<Prefix<true>>;

/// Keeps leases under a key prefix of its own.
pub(crate) struct Prefix<const CLOCK: bool>(ConsulStoreOptions);

#[async_trait]
impl<const CLOCK: bool> Provider for Prefix<CLOCK> {
    type Kind = ConsulKind;

    /// What is known of a clock of seconds is as wide as a second, at first.
    const TTL: Duration = Duration::from_secs(if CLOCK { 4 } else { 2 });

    async fn prepare(_: &Consul) -> Self {
        let options = ConsulStoreOptions::new().with_key_prefix(format!("leases-{}/", GrantId::random()));
        // One server answers.
        Self(if CLOCK { options.with_trusted_clocks(Duration::from_millis(100)) } else { options })
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
