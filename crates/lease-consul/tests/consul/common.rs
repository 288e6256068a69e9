//! What the tests of this crate share.

use std::time::Duration;

use integration_tests::{Consul, http_request};
use lease_consul::{ConsulStore, ConsulStoreOptions};
use lease_core::{AcquireRequest, Claim, Grant, GrantId};
use lease_testkit::calls::{self, holder, name};

pub(crate) const SHORT: Duration = Duration::from_secs(2);

/// A ttl that is longer than any test.
pub(crate) const LONG: Duration = Duration::from_secs(300);

/// Returns options with a key prefix of their own.
pub(crate) fn options() -> ConsulStoreOptions {
    ConsulStoreOptions::new().with_key_prefix(format!("leases-{}/", GrantId::random()))
}

/// Returns a store on the shared server, with a prefix of its own.
pub(crate) async fn store() -> ConsulStore {
    options().connect(Consul::shared().await.url()).await.unwrap()
}

pub(crate) fn request(job: &str, ttl: Duration) -> AcquireRequest {
    calls::request(name(job), holder(&format!("holder-{}", GrantId::random())), ttl)
}

/// Acquires a name that must be free.
pub(crate) async fn granted(store: &ConsulStore, request: &AcquireRequest) -> (Claim, Grant) {
    let grant = calls::granted(store, request).await;
    (calls::claim(request, grant), grant)
}

/// Sends a request to a server without the library, with a token, and returns its answer.
pub(crate) async fn ask(url: &str, token: &str, method: &str, path: &str, body: &str) -> String {
    http_request(url, method, path, &[("X-Consul-Token", token)], body).await.unwrap()
}
