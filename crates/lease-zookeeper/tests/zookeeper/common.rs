//! Helpers of the tests.

use std::time::Duration;

use integration_tests::{Proxy, ZooKeeper};
use lease_core::{ExpiryJudge, GrantId, LeaseName};
use lease_zookeeper::{
    ZooKeeperStoreOptions,
    zookeeper_client::{Acls, Client, CreateMode, CreateOptions},
};

/// A time limit that no correct test reaches.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A ttl that is longer than any test.
pub(crate) const LONG: Duration = Duration::from_secs(300);

pub(crate) fn name(name: &str) -> LeaseName {
    LeaseName::new(name).unwrap()
}

/// Returns options with a chroot of their own, for a single server.
pub(crate) fn options() -> ZooKeeperStoreOptions {
    ZooKeeperStoreOptions::new()
        .with_chroot(format!("/leases-{}", GrantId::random()))
        .with_expiry_judge(ExpiryJudge::ServerWallClock)
}

pub(crate) fn address(server: &ZooKeeper) -> String {
    server.address().unwrap().to_string()
}

pub(crate) async fn proxy(server: &ZooKeeper) -> (Proxy, String) {
    let proxy = Proxy::start(server.address().unwrap()).await.unwrap();
    let address = proxy.address().to_string();
    (proxy, address)
}

/// A client of the driver.
pub(crate) async fn driver(server: &ZooKeeper) -> Client {
    Client::connect(&address(server)).await.unwrap()
}

/// How another program creates nodes.
pub(crate) fn persistent() -> CreateOptions<'static> {
    CreateMode::Persistent.with_acls(Acls::anyone_all())
}

/// What `deleteall` of `zkCli.sh` does.
pub(crate) async fn delete_all(client: &Client, path: &str) {
    for child in client.list_children(path).await.unwrap() {
        Box::pin(delete_all(client, &format!("{path}/{child}"))).await;
    }
    client.delete(path, None).await.unwrap();
}
