//! Helpers of the tests of this crate.

use std::time::Duration;

use etcd_client::{Client, KeyValue, Permission};
use integration_tests::Etcd;
pub(crate) use integration_tests::{pass, within};
use lease_core::{AcquireRequest, Acquired, Claim, Clock, FencingToken, Grant, GrantId, Released, SystemClock};
use lease_etcd::{EtcdStore, EtcdStoreOptions};
use lease_testkit::calls;
pub(crate) use lease_testkit::calls::{
    acquire, acquired, claim, extended, holder, lost, name, only, plain_release, release, renew, renewal,
};

/// A time limit that no correct test reaches.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// The server's minimum ttl.
pub(crate) const SHORT: Duration = Duration::from_secs(2);

/// A ttl that is longer than any test.
pub(crate) const LONG: Duration = Duration::from_secs(300);

pub(crate) const PASSWORD: &str = "hunter2-hunter2";

/// Returns options with a unique key prefix.
pub(crate) fn options() -> EtcdStoreOptions {
    EtcdStoreOptions::new().with_key_prefix(format!("leases-{}/", GrantId::random()))
}

/// Returns a store on the shared server, with a prefix of its own.
pub(crate) async fn store() -> EtcdStore {
    options().connect([Etcd::shared().await.url()]).await.unwrap()
}

/// Starts a server on which the user `app` has all rights below its prefix, and whose tokens expire when not used for two
/// seconds.
pub(crate) async fn guarded() -> (Etcd, EtcdStoreOptions) {
    guarded_by(&[("auth-token-ttl", "2")]).await
}

pub(crate) async fn guarded_by(settings: &[(&str, &str)]) -> (Etcd, EtcdStoreOptions) {
    let etcd = Etcd::start_local(settings).await.unwrap();
    let options = options();
    let mut root = Client::connect([etcd.url()], None).await.unwrap();
    root.user_add("root", PASSWORD, None).await.unwrap();
    root.role_add("root").await.unwrap();
    root.user_grant_role("root", "root").await.unwrap();
    root.user_add("app", PASSWORD, None).await.unwrap();
    root.role_add("app").await.unwrap();
    let below = Permission::read_write(options.key_prefix.as_str()).with_prefix();
    root.role_grant_permission("app", below).await.unwrap();
    root.user_grant_role("app", "app").await.unwrap();
    root.auth_enable().await.unwrap();
    (etcd, options)
}

/// Returns a store that starts at the first of these endpoints.
pub(crate) async fn connect_in_order<U: AsRef<str>>(options: &EtcdStoreOptions, urls: &[U]) -> EtcdStore {
    loop {
        let store = options.connect(urls).await.unwrap();
        if store.endpoint() == Some(urls[0].as_ref()) {
            return store;
        }
    }
}

/// Returns the number of logins at this server.
pub(crate) async fn logins(etcd: &Etcd) -> usize {
    use std::io::{Read, Write};
    let address = etcd.address().unwrap();
    let read = move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream
            .write_all(format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let is_login = |line: &&str| line.starts_with("grpc_server_started_total{grpc_method=\"Authenticate\"");
        answer.lines().find(is_login).map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

/// Returns a client of the driver, on the shared server.
pub(crate) async fn driver() -> Client {
    Client::connect([Etcd::shared().await.url()], None).await.unwrap()
}

pub(crate) fn request(job: &str, ttl: Duration) -> AcquireRequest {
    calls::request(name(job), holder(&format!("holder-{}", GrantId::random())), ttl)
}

/// Acquires a name that must be free.
pub(crate) async fn granted(store: &EtcdStore, request: &AcquireRequest) -> (Claim, Grant) {
    let grant = calls::granted(store, request).await;
    (claim(request, grant), grant)
}

/// Returns whether another holder can acquire this name now. If so, the name is released again.
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

/// Returns the key of a lease with its value.
pub(crate) async fn pair(driver: &mut Client, store: &EtcdStore, job: &str) -> Option<KeyValue> {
    driver.get(store.key(&name(job)), None).await.unwrap().kvs().first().cloned()
}

pub(crate) fn token(number: u64) -> FencingToken {
    FencingToken::new(number).unwrap()
}

/// Repeats a call until it returns a value.
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
