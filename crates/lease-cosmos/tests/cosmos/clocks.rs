//! The clocks of the service's servers.

use std::time::Duration;

use integration_tests::{Cosmos, HttpProxy};
use lease_core::ExpiryJudge;
use lease_cosmos::{CosmosStore, CosmosStoreOptions};
use lease_testkit::calls::is_held;

use crate::{
    common::{granted, request},
    harness::{KEY, LEASES, database},
};

const TTL: Duration = Duration::from_secs(10);

/// Returns a store at a server with the right time, and one at a server whose clock is ahead.
async fn two_servers(options: &CosmosStoreOptions, ahead: i64) -> (CosmosStore, CosmosStore, HttpProxy) {
    let cosmos = Cosmos::shared().await;
    let database = database(cosmos.url(), LEASES).await;
    let proxy = HttpProxy::start(cosmos.address().unwrap()).await.unwrap();
    proxy.shift_dates(ahead);
    let right = options.connect(cosmos.url(), &database, "leases").await.unwrap();
    let wrong = options.connect(&proxy.url(), &database, "leases").await.unwrap();
    (right, wrong, proxy)
}

/// Clocks may differ by twice the slack. The negative control: if they differ by more, there are two holders.
#[tokio::test]
async fn s03_clocks_may_differ_by_twice_the_slack() {
    let options = CosmosStoreOptions::new().with_key(KEY);
    assert_eq!(options.expiry_judge, ExpiryJudge::ServersWallClocks { slack: Duration::from_secs(2) });
    for (ahead, is_granted) in [(4, false), (60, true)] {
        let (right, wrong, _proxy) = two_servers(&options, ahead).await;
        granted(&right, &request("job", TTL)).await;
        assert_eq!(!is_held(&wrong, &request("job", TTL)).await, is_granted, "{ahead} s ahead");
    }
    // Contenders believe none.
    let (right, wrong, _proxy) = two_servers(&options.with_expiry_judge(ExpiryJudge::Contenders), 60).await;
    granted(&right, &request("job", TTL)).await;
    assert!(is_held(&wrong, &request("job", TTL)).await);
}
