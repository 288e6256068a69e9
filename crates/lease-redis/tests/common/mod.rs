//! What the tests share: a server, a prefix of its own for each test, and short ways to ask.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::time::Duration;

use integration_tests::{Redis, Reply};
use lease_core::{
    AcquireRequest, Acquired, Claim, Clock, Grant, GrantId, HolderId, LeaseName, LeaseStore, Metadata, ReleaseRequest,
    Released, RenewRequest, Renewed, Result, SystemClock, Wakeups,
};
use lease_redis::{RedisStore, RedisStoreOptions};

pub(crate) const TTL: Duration = Duration::from_secs(30);

/// Options with a prefix that no other test has.
pub(crate) fn options() -> RedisStoreOptions {
    RedisStoreOptions::new().with_key_prefix(format!("{}:", unique("leases")))
}

/// A store on the shared server.
pub(crate) async fn store() -> RedisStore {
    options().connect(Redis::shared().await.url()).await.unwrap()
}

/// A second store on the same keys, as another process would have it.
pub(crate) async fn another(store: &RedisStore) -> RedisStore {
    let options = RedisStoreOptions::new().with_key_prefix(store.key_prefix());
    options.connect(Redis::shared().await.url()).await.unwrap()
}

pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", &GrantId::random().to_string()[..16])
}

pub(crate) fn key(store: &RedisStore, name_text: &str) -> String {
    format!("{}{name_text}", store.key_prefix())
}

/// A command on the shared server.
pub(crate) async fn redis(words: &[&str]) -> Reply {
    match Redis::shared().await.command(words).await.unwrap() {
        Reply::Error(error) => panic!("{words:?}: {error}"),
        reply => reply,
    }
}

/// A field of a lease's record.
pub(crate) async fn field(store: &RedisStore, name_text: &str, field: &str) -> String {
    redis(&["HGET", &key(store, name_text), field]).await.text()
}

pub(crate) fn name(text: &str) -> LeaseName {
    LeaseName::new(text).unwrap()
}

pub(crate) fn holder(text: &str) -> HolderId {
    HolderId::new(text).unwrap()
}

pub(crate) fn request(name_text: &str, holder_text: &str) -> AcquireRequest {
    AcquireRequest {
        name: name(name_text),
        holder: holder(holder_text),
        grant: GrantId::random(),
        ttl: TTL,
        metadata: Metadata::default(),
        announce: false,
        look_first: false,
    }
}

pub(crate) fn claim(request: &AcquireRequest, grant: Grant) -> Claim {
    Claim { name: request.name.clone(), holder: request.holder.clone(), grant: request.grant, handle: grant.handle }
}

pub(crate) async fn acquire(store: &RedisStore, request: &AcquireRequest) -> Result<Acquired> {
    store.acquire(std::slice::from_ref(request)).await.pop().unwrap()
}

pub(crate) async fn granted(store: &RedisStore, request: &AcquireRequest) -> Grant {
    match acquire(store, request).await.unwrap() {
        Acquired::Granted(grant) => grant,
        other => panic!("{} was not granted: {other:?}", request.name),
    }
}

pub(crate) async fn is_held(store: &RedisStore, request: &AcquireRequest) -> bool {
    matches!(acquire(store, request).await.unwrap(), Acquired::Held { .. })
}

pub(crate) fn renewal(claim: &Claim, ttl: Duration) -> RenewRequest {
    RenewRequest { claim: claim.clone(), ttl, metadata: None }
}

pub(crate) async fn renew(store: &RedisStore, request: &RenewRequest) -> Result<Renewed> {
    store.renew(std::slice::from_ref(request)).await.pop().unwrap()
}

pub(crate) fn releasing(claim: &Claim) -> ReleaseRequest {
    ReleaseRequest { claim: claim.clone(), hold_for: Duration::ZERO, reserved_for: None }
}

pub(crate) async fn release(store: &RedisStore, claim: &Claim) -> Released {
    store.release(&[releasing(claim)]).await.pop().unwrap().unwrap()
}

pub(crate) async fn sleep(duration: Duration) {
    SystemClock.sleep_until(SystemClock.now() + duration).await;
}

/// Waits until something is so, and fails when it is not within twenty seconds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = SystemClock.now() + Duration::from_secs(20);
    while !condition().await {
        assert!(SystemClock.now() < deadline, "it did not come to be within twenty seconds: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a hint comes within this time.
pub(crate) async fn is_hinted_within(wakeups: &mut Wakeups, patience: Duration) -> bool {
    tokio::select! {
        () = wakeups.next() => true,
        () = sleep(patience) => false,
    }
}
