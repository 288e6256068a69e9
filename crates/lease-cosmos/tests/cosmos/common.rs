//! What the tests of this crate share.

use std::time::Duration;

use integration_tests::{Cosmos, HttpProxy};
use lease_core::{AcquireRequest, Claim, ExpiryJudge, Grant, GrantId};
use lease_cosmos::{CosmosStore, CosmosStoreOptions};
use lease_testkit::calls::{self, holder, name};

use crate::harness::{KEY, LEASES, database};

/// A ttl that is longer than any test.
pub(crate) const LONG: Duration = Duration::from_secs(300);

pub(crate) fn options() -> CosmosStoreOptions {
    let slack = Duration::from_millis(100);
    CosmosStoreOptions::new().with_key(KEY).with_expiry_judge(ExpiryJudge::ServersWallClocks { slack })
}

/// Returns a store in a container of its own, on the shared server behind a proxy.
pub(crate) async fn proxied() -> (CosmosStore, HttpProxy, String) {
    let cosmos = Cosmos::shared().await;
    let database = database(cosmos.url(), LEASES).await;
    let proxy = HttpProxy::start(cosmos.address().unwrap()).await.unwrap();
    let store = options().connect(&proxy.url(), &database, "leases").await.unwrap();
    (store, proxy, database)
}

pub(crate) fn request(job: &str, ttl: Duration) -> AcquireRequest {
    calls::request(name(job), holder(&format!("holder-{}", GrantId::random())), ttl)
}

/// Acquires a name that must be free.
pub(crate) async fn granted(store: &CosmosStore, request: &AcquireRequest) -> (Claim, Grant) {
    let grant = calls::granted(store, request).await;
    (calls::claim(request, grant), grant)
}
