//! What the stores of all URLs have in common.

use std::time::Duration;

use lease_core::LeaseClient;
use lease_url::open;

/// Acquires by one opened store and contends by another one.
#[allow(dead_code, reason = "each feature uses it")]
pub(crate) async fn excludes(one: &str, other: &str) {
    let (one, other) = (open(one).await.unwrap(), open(other).await.unwrap());
    one.admin.migrate().await.unwrap();
    assert_eq!(one.admin.purge(Duration::from_secs(3600)).await.unwrap(), 0);
    // A URL has the default options, which the table is about.
    integration_tests::the_readme_states(&one.store.capabilities());
    let ttl = Duration::from_secs(10);
    let (one, other) = (LeaseClient::new(one.store), LeaseClient::new(other.store));
    let lease = one.try_acquire("open", ttl).await.unwrap().acquired().unwrap();
    assert!(other.try_acquire("open", ttl).await.unwrap().acquired().is_none());
    lease.release().await.unwrap();
    assert!(other.try_acquire("open", ttl).await.unwrap().is_acquired());
}
