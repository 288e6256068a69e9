//! The harness of ZooKeeper.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use integration_tests::{Provider, ServerHarness, ZooKeeper, ZooKeeperKind};
use lease_core::{ExpiryJudge, GrantId, LeaseName, LeaseStore};
use lease_zookeeper::{ZooKeeperStoreOptions, zookeeper_client::Client};

pub(crate) type ZooKeeperHarness = ServerHarness<Chroot>;

/// Keeps leases under a chroot of its own.
pub(crate) struct Chroot(ZooKeeperStoreOptions);

#[async_trait]
impl Provider for Chroot {
    type Kind = ZooKeeperKind;

    const TTL: Duration = Duration::from_secs(2);

    async fn prepare(_: &ZooKeeper) -> Self {
        let chroot = format!("/leases-{}", GrantId::random());
        Self(ZooKeeperStoreOptions::new().with_chroot(chroot).with_expiry_judge(ExpiryJudge::ServerWallClock))
    }

    async fn open(&self, url: &str) -> Arc<dyn LeaseStore> {
        Arc::new(self.0.connect(url.strip_prefix("zookeeper://").unwrap()).await.unwrap())
    }

    async fn remove_record(&self, server: &ZooKeeper, name: &LeaseName) {
        let client = Client::connect(&server.address().unwrap().to_string()).await.unwrap();
        let path = format!("{}/{}", self.0.chroot, lease_document::escape(name));
        for child in client.list_children(&path).await.unwrap_or_default() {
            client.delete(&format!("{path}/{child}"), None).await.unwrap();
        }
        let _ = client.delete(&path, None).await;
    }
}
