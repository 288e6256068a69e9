//! The trap of ZooKeeper's versions: they count from 0 again after a node was deleted and created.

use integration_tests::ZooKeeper;
use lease_core::{LeaseClient, LeaseOptions, LossReason};
use lease_document::{Documents, Version};
use std::time::Duration;

use crate::common::{LONG, PATIENCE, address, delete_all, driver, name, options};

/// Returns what ZooKeeper alone compares.
fn count(version: &Version) -> &str {
    version.tag.split_once(':').unwrap().1
}

#[tokio::test]
async fn a_version_of_a_node_that_is_gone_hits_no_other_node() {
    let server = ZooKeeper::shared().await;
    let options = options();
    let store = options.connect(&address(server)).await.unwrap();
    let (documents, client, job) = (store.documents(), driver(server).await, name("job"));
    let put =
        async |expected: Option<&Version>| documents.put_if(&job, b"{}".to_vec(), expected).await.unwrap().version;
    let stale = [
        put(None).await.unwrap(),
        put(None).await.or(documents.get(&job).await.unwrap().document.map(|d| d.version)).unwrap(),
    ];
    assert_eq!(stale[0], stale[1], "a second create is a conflict");
    let stale = [stale[0].clone(), put(Some(&stale[0])).await.unwrap()];
    delete_all(&client, &format!("{}/job", options.chroot)).await;
    for old in &stale {
        assert_eq!(put(Some(old)).await, None, "there is no node");
        assert!(!documents.delete_if(&job, old).await.unwrap());
    }
    let mut current = put(None).await.unwrap();
    for old in &stale {
        assert_eq!(count(old), count(&current), "the trap is set");
        assert!(current.number > old.number);
        assert_eq!(put(Some(old)).await, None);
        assert!(!documents.delete_if(&job, old).await.unwrap());
        current = put(Some(&current)).await.expect("the node is as it was");
    }
    assert!(documents.delete_if(&job, &current).await.unwrap());
}

/// An operator deletes the node under a holder, and somebody else is granted the name. Neither the renewal nor the release of the
/// former holder, by heart, hits the grant of the other one.
#[tokio::test]
async fn s11_a_holder_whose_node_was_deleted_harms_nobody() {
    let server = ZooKeeper::shared().await;
    for renews in [true, false] {
        let options = options();
        let client = driver(server).await;
        let (one, other) = (
            LeaseClient::new(options.connect(&address(server)).await.unwrap()),
            LeaseClient::new(options.connect(&address(server)).await.unwrap()),
        );
        // Renewed by heart soon, unless it is released before.
        let ttl = if renews { Duration::from_secs(3) } else { LONG };
        let lease = one.try_acquire("job", ttl).await.unwrap().acquired().unwrap();
        delete_all(&client, &format!("{}/job", options.chroot)).await;
        let rival = other.acquire("job", LeaseOptions::new(LONG)).await.unwrap();
        assert!(rival.token() > lease.token());
        if renews {
            let reason = integration_tests::within("the loss", PATIENCE, lease.lost()).await;
            assert!(matches!(reason, LossReason::TakenOver { .. } | LossReason::Gone), "{reason:?}");
        } else {
            lease.release().await.unwrap();
        }
        let record = one.inspect("job").await.unwrap().unwrap();
        assert_eq!(record.token, rival.token());
        assert!(rival.is_held());
        rival.release().await.unwrap();
    }
}

#[tokio::test]
async fn s09_a_purge_deletes_nodes_and_tokens_rise_all_the_same() {
    let server = ZooKeeper::shared().await;
    let options = options();
    let store = options.connect(&address(server)).await.unwrap();
    let client = LeaseClient::new(store.clone());
    let held = client.try_acquire("held", LONG).await.unwrap().acquired().unwrap();
    let lease = client.try_acquire("job", Duration::from_secs(1)).await.unwrap().acquired().unwrap();
    let token = lease.token();
    lease.release().await.unwrap();
    let purged = store.purge("", Duration::from_millis(1)).await;
    // The release was just now.
    integration_tests::pass(Duration::from_millis(100)).await;
    let deleted = purged.unwrap().deleted + store.purge("", Duration::from_millis(1)).await.unwrap().deleted;
    assert_eq!(deleted, 1);
    let driver = driver(server).await;
    let mut children = driver.list_children(&options.chroot).await.unwrap();
    children.sort();
    assert_eq!(children, [".clock", "held"]);
    assert!(held.is_held());
    let again = client.try_acquire("job", LONG).await.unwrap().acquired().unwrap();
    assert!(again.token() > token);
}
