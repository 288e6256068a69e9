//! What the tests of this crate have in common.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it; a test that cannot go on fails")]

use std::{future::Future, time::Duration};

use etcd_client::{Client, KeyValue};
use integration_tests::Etcd;
use lease_core::{
    AcquireRequest, Acquired, Claim, Clock, FencingToken, Grant, GrantId, HolderId, LeaseName, LeaseStore, LossReason,
    Metadata, ReleaseRequest, Released, RenewRequest, Renewed, Result, SystemClock,
};
use lease_etcd::{EtcdStore, EtcdStoreOptions};

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

pub(crate) fn name(name: &str) -> LeaseName {
    LeaseName::new(name).unwrap()
}

pub(crate) fn request(job: &str, ttl: Duration) -> AcquireRequest {
    AcquireRequest {
        name: name(job),
        holder: HolderId::new(format!("holder-{}", GrantId::random())).unwrap(),
        grant: GrantId::random(),
        ttl,
        metadata: Metadata::default(),
        announce: false,
        look_first: false,
    }
}

pub(crate) fn only<T>(mut answers: Vec<Result<T>>) -> Result<T> {
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

pub(crate) async fn acquire(store: &EtcdStore, request: &AcquireRequest) -> Result<Acquired> {
    only(store.acquire(std::slice::from_ref(request)).await)
}

/// Acquires what must be free.
pub(crate) async fn granted(store: &EtcdStore, request: &AcquireRequest) -> (Claim, Grant) {
    match acquire(store, request).await.unwrap() {
        Acquired::Granted(grant) => (claim(request, &grant), grant),
        other => panic!("{} must be granted: {other:?}", request.name),
    }
}

pub(crate) fn claim(request: &AcquireRequest, grant: &Grant) -> Claim {
    let AcquireRequest { name, holder, grant: nonce, .. } = request.clone();
    Claim { name, holder, grant: nonce, handle: grant.handle }
}

/// Whether a stranger is granted this name at this moment. If so, it is released again.
pub(crate) async fn is_free(store: &EtcdStore, job: &str) -> bool {
    let stranger = request(job, LONG);
    match acquire(store, &stranger).await.unwrap() {
        Acquired::Granted(grant) => {
            assert_eq!(release(store, &claim(&stranger, &grant)).await.unwrap(), Released::Freed);
            true
        }
        _ => false,
    }
}

pub(crate) async fn renew(store: &EtcdStore, claim: &Claim, ttl: Duration) -> Result<Renewed> {
    only(store.renew(&[RenewRequest { claim: claim.clone(), ttl, metadata: None }]).await)
}

pub(crate) async fn extended(store: &EtcdStore, claim: &Claim, ttl: Duration) -> Duration {
    match renew(store, claim, ttl).await.unwrap() {
        Renewed::Extended { remaining } => remaining,
        Renewed::Lost(reason) => panic!("{} must be renewed: {reason}", claim.name),
    }
}

pub(crate) async fn lost(store: &EtcdStore, claim: &Claim, ttl: Duration) -> LossReason {
    match renew(store, claim, ttl).await.unwrap() {
        Renewed::Lost(reason) => reason,
        other => panic!("{} must be lost: {other:?}", claim.name),
    }
}

pub(crate) async fn release(store: &EtcdStore, claim: &Claim) -> Result<Released> {
    only(store.release(&[ReleaseRequest { claim: claim.clone(), hold_for: Duration::ZERO, reserved_for: None }]).await)
}

/// What there is under the key of a lease.
pub(crate) async fn pair(driver: &mut Client, store: &EtcdStore, job: &str) -> Option<KeyValue> {
    driver.get(store.key(&name(job)), None).await.unwrap().kvs().first().cloned()
}

pub(crate) fn token(number: u64) -> FencingToken {
    FencingToken::new(number).unwrap()
}

pub(crate) async fn pass(duration: Duration) {
    SystemClock.sleep_until(SystemClock.now() + duration).await;
}

/// The outcome of what must not hang.
pub(crate) async fn within<T>(what: &str, limit: Duration, work: impl Future<Output = T>) -> T {
    tokio::select! {
        outcome = work => outcome,
        () = pass(limit) => panic!("{what}: nothing happened within {limit:?}"),
    }
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
