//! ZooKeeper is opened by its URL.
#![cfg(feature = "zookeeper")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use integration_tests::ZooKeeper;
use lease_core::{ErrorKind, LeaseClient};
use lease_url::open;

#[tokio::test]
async fn zookeeper() {
    let server = ZooKeeper::shared().await;
    let address = server.address().unwrap();
    for url in [format!("zookeeper://{address}"), format!("zookeeper://{address},{address}/opened")] {
        let (one, other) = (open(&url).await.unwrap(), open(&url).await.unwrap());
        one.admin.migrate().await.unwrap();
        assert_eq!(one.admin.purge(Duration::from_secs(3600)).await.unwrap(), 0);
        let (one, other) = (LeaseClient::new(one.store), LeaseClient::new(other.store));
        let ttl = Duration::from_secs(10);
        let lease = one.try_acquire("open", ttl).await.unwrap().acquired().unwrap();
        assert!(other.try_acquire("open", ttl).await.unwrap().acquired().is_none());
        lease.release().await.unwrap();
    }
    for url in ["zookeeper:", "zookeeper://", "zookeeper:///leases", "zookeeper://app:secret@host:1/leases"] {
        let error = open(url).await.unwrap_err();
        let message = error.to_string();
        assert!(error.kind() == ErrorKind::Invalid && message.contains("zookeeper://"), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }
}
