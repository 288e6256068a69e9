//! Consul is opened by its URL.
#![cfg(feature = "consul")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use lease_core::{ErrorKind, LeaseClient};
use lease_url::open;

#[tokio::test]
async fn consul() {
    let ttl = Duration::from_secs(10);
    let address = integration_tests::Consul::shared().await.address().unwrap();
    let url = format!("consul://{address}/lease-url/open");
    let (one, other) = (open(&url).await.unwrap(), open(&format!("{url}/")).await.unwrap());
    one.admin.migrate().await.unwrap();
    assert_eq!(one.admin.purge(Duration::from_secs(60)).await.unwrap(), 0);
    let (one, other) = (LeaseClient::new(one.store), LeaseClient::new(other.store));
    let lease = one.try_acquire("open", ttl).await.unwrap().acquired().unwrap();
    assert!(other.try_acquire("open", ttl).await.unwrap().acquired().is_none());
    // The default prefix is another one.
    let elsewhere = LeaseClient::new(open(&format!("consul://{address}")).await.unwrap().store);
    elsewhere.try_acquire("open", ttl).await.unwrap().acquired().unwrap().release().await.unwrap();
    lease.release().await.unwrap();
    assert!(other.try_acquire("open", ttl).await.unwrap().is_acquired());
    for url in ["consul:", "consul://", "consul:///leases", "consul://user:secret@host:1", "consul://host?secret"] {
        let error = open(url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
