//! An application that blocks its runtime.

use std::time::Duration;

use lease_core::{LeaseClient, LeaseStore};
use tokio::runtime::Builder;

/// Asserts that a client on a runtime of its own keeps its leases while the application blocks the application's runtime for
/// longer than the ttl (L10). The application acquires all leases at once, which must not open connections on its own
/// runtime.
///
/// Call it outside a runtime.
///
/// # Panics
///
/// Panics if a lease is lost.
#[allow(clippy::expect_used, reason = "a test that cannot go on fails")]
pub fn a_blocked_application_keeps_its_leases<S: LeaseStore>(connect: impl AsyncFnOnce() -> S, ttl: Duration) {
    let own = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let application = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = own.block_on(async { LeaseClient::new(connect().await) });
    application.block_on(async {
        let names = ["blocked/one", "blocked/two", "blocked/three"];
        let [one, two, three] = names.map(|name| client.try_acquire(name, ttl));
        let (one, two, three) = tokio::join!(one, two, three);
        let leases = [one, two, three].map(|tried| tried.expect("an answer").acquired().expect("it is free"));
        std::thread::sleep(ttl * 3 / 2);
        for lease in leases {
            assert!(lease.is_held(), "{} was lost", lease.name());
            lease.release().await.expect("an answer");
        }
        client.close().await.expect("it ends");
    });
}
