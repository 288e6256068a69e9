//! What the tests of this crate have in common.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    reason = "each test file uses a part of it; a test that cannot go on fails"
)]

use std::time::Duration;

use etcd_client::{Client, KeyValue};
use integration_tests::Etcd;
pub(crate) use integration_tests::{pass, within};
use lease_core::{AcquireRequest, Acquired, Claim, Clock, FencingToken, Grant, GrantId, Released, SystemClock};
use lease_etcd::{EtcdStore, EtcdStoreOptions};
use lease_testkit::calls;
pub(crate) use lease_testkit::calls::{
    acquire, acquired, claim, extended, holder, lost, name, only, plain_release, release, renew, renewal,
};

/// Longer than any test needs to have what it waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// The server's minimum.
pub(crate) const SHORT: Duration = Duration::from_secs(2);

/// Longer than any test lasts.
pub(crate) const LONG: Duration = Duration::from_secs(300);

/// Options with a key prefix that nobody else has.
pub(crate) fn options() -> EtcdStoreOptions {
    EtcdStoreOptions::new().with_key_prefix(format!("leases-{}/", GrantId::random()))
}

/// A store on the shared server, with a prefix of its own.
pub(crate) async fn store() -> EtcdStore {
    options().connect([Etcd::shared().await.url()]).await.unwrap()
}

/// A client of the driver, on the shared server.
pub(crate) async fn driver() -> Client {
    Client::connect([Etcd::shared().await.url()], None).await.unwrap()
}

pub(crate) fn request(job: &str, ttl: Duration) -> AcquireRequest {
    calls::request(name(job), holder(&format!("holder-{}", GrantId::random())), ttl)
}

/// Acquires what must be free.
pub(crate) async fn granted(store: &EtcdStore, request: &AcquireRequest) -> (Claim, Grant) {
    let grant = calls::granted(store, request).await;
    (claim(request, grant), grant)
}

/// Whether a stranger is granted this name at this moment. If so, it is released again.
pub(crate) async fn is_free(store: &EtcdStore, job: &str) -> bool {
    let stranger = request(job, LONG);
    match acquired(store, &stranger).await {
        Acquired::Granted(grant) => {
            assert_eq!(release(store, &claim(&stranger, grant)).await, Released::Freed);
            true
        }
        _ => false,
    }
}

/// What there is under the key of a lease.
pub(crate) async fn pair(driver: &mut Client, store: &EtcdStore, job: &str) -> Option<KeyValue> {
    driver.get(store.key(&name(job)), None).await.unwrap().kvs().first().cloned()
}

pub(crate) fn token(number: u64) -> FencingToken {
    FencingToken::new(number).unwrap()
}

/// Asks again and again until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = SystemClock.now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(SystemClock.now() < deadline, "{what}: not within {PATIENCE:?}");
        pass(Duration::from_millis(20)).await;
    }
}
