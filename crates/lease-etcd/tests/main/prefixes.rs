//! `job` and `job2` are independent, and so are two stores with different prefixes.

use std::time::Duration;

use integration_tests::Etcd;
use lease_core::{Break, LeaseStore, ReleaseRequest, Released};

use crate::common::*;

#[tokio::test]
async fn s21_a_name_is_no_prefix_of_another() {
    let store = store().await;
    let (longer, _) = granted(&store, &request("job2", LONG)).await;
    let (shorter, grant) = granted(&store, &request("job", LONG)).await;
    assert_eq!(store.inspect(&name("jo")).await.unwrap(), None);
    assert_eq!(store.inspect(&name("job")).await.unwrap().unwrap().holder, shorter.holder);
    assert_eq!(release(&store, &shorter).await, Released::Freed);
    extended(&store, &longer, LONG).await;
    assert_eq!(store.break_lease(&name("job"), grant.token, Break::Now).await.unwrap(), Released::NotHeld);
    extended(&store, &longer, LONG).await;
    assert!(is_free(&store, "job").await && !is_free(&store, "job2").await);
}

#[tokio::test]
async fn s21_a_blocked_name_blocks_no_other() {
    let store = store().await;
    let (claim, _) = granted(&store, &request("job", LONG)).await;
    only(store.release(&[ReleaseRequest::new(claim).with_hold_for(LONG)]).await).unwrap();
    for free in ["job2", "jo", "blocked", "job/blocked", "announced/job"] {
        assert!(is_free(&store, free).await, "{free}");
    }
    assert!(!is_free(&store, "job").await);
    let names: Vec<_> = store.list("job", None, 9).await.unwrap().into_iter().map(|record| record.name).collect();
    assert_eq!(names, [name("job")]);
}

#[tokio::test]
async fn a_hint_is_for_its_name() {
    let store = store().await;
    let (claim, _) = granted(&store, &request("job2", LONG)).await;
    let (mut job, mut job2) = (store.subscribe(&name("job")), store.subscribe(&name("job2")));
    within("the watch stands", PATIENCE, async { tokio::join!(job.next(), job2.next()) }).await;
    release(&store, &claim).await;
    within("the hint", PATIENCE, job2.next()).await;
    tokio::select! {
        () = job.next() => panic!("a hint for another name"),
        () = pass(Duration::from_millis(200)) => {}
    }
}

/// A renewal wakes no waiter. An announced grant wakes the waiters of its name.
#[tokio::test]
async fn renewals_are_not_hinted_and_announcements_are() {
    let store = store().await;
    let mut hints = store.subscribe(&name("job"));
    within("the watch stands", PATIENCE, hints.next()).await;
    let (claim, _) = granted(&store, &request("job", SHORT).with_announce(true)).await;
    within("the announcement", PATIENCE, hints.next()).await;
    for _ in 0..4 {
        pass(SHORT / 4).await;
        extended(&store, &claim, SHORT).await;
    }
    tokio::select! {
        () = hints.next() => panic!("a renewal was hinted"),
        () = pass(Duration::from_millis(200)) => {}
    }
    // The end of the announcement does not wake them, while the grant is in force.
    assert!(store.list("", None, 9).await.unwrap().len() == 1);
}

#[tokio::test]
async fn two_prefixes_share_nothing() {
    let url = Etcd::shared().await.url();
    let (one, two) = (options().connect([url]).await.unwrap(), options().connect([url]).await.unwrap());
    granted(&one, &request("job", LONG)).await;
    granted(&two, &request("job", LONG)).await;
    assert_eq!(one.list("", None, 9).await.unwrap().len(), 1);
}
