//! ZooKeeper is opened by its URL.
#![cfg(feature = "zookeeper")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::excludes;
use integration_tests::ZooKeeper;
use lease_core::ErrorKind;
use lease_url::open;

#[tokio::test]
async fn zookeeper() {
    let server = ZooKeeper::shared().await;
    let address = server.address().unwrap();
    for url in [format!("zookeeper://{address}"), format!("zookeeper://{address},{address}/opened")] {
        excludes(&url, &url).await;
    }
    for url in ["zookeeper:", "zookeeper://", "zookeeper:///leases", "zookeeper://app:secret@host:1/leases"] {
        let error = open(url).await.unwrap_err();
        let message = error.to_string();
        assert!(error.kind() == ErrorKind::Invalid && message.contains("zookeeper://"), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }
}
