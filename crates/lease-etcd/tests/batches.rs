//! Many grants.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{sync::Arc, time::Duration};

use common::*;
use futures::future::join_all;
use integration_tests::Etcd;
use lease_core::{Acquired, Break, LeaseClient, LeaseOptions, LeaseStore, Metadata};
use lease_testkit::{Operation, RecordingStore};

const MANY: usize = 10_000;

/// Ten thousand grants on one client are renewed with few requests; one that is released, dropped or broken frees its name at
/// once, and no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_grants_are_renewed_with_few_requests() {
    // A server of its own: its other users would make the numbers worse.
    let etcd = Etcd::start().await;
    let store = options().connect([etcd.url()]).await.unwrap();
    let recording = RecordingStore::new(Arc::new(store.clone()));
    let client = LeaseClient::new(recording.clone());
    let ttl = Duration::from_secs(15);

    let mut leases = Vec::new();
    let attempts = (0..MANY).map(|number| client.try_acquire(format!("job/{number}"), LeaseOptions::new(ttl)));
    for lease in join_all(attempts).await {
        leases.push(lease.unwrap().acquired().unwrap());
    }
    let acquires = recording.count(Operation::Acquire);
    assert!(acquires <= MANY / 20, "{acquires} calls for {MANY} grants");

    recording.clear();
    pass(ttl + ttl / 3).await;
    let (calls, renewals) = (recording.count(Operation::Renew), recording.elements(Operation::Renew));
    println!("{renewals} renewals in {calls} calls of the store");
    assert!(renewals >= 3 * MANY && calls <= renewals / 50, "{renewals} renewals in {calls} calls");
    assert!(leases.iter().all(|lease| lease.is_held()));

    let (released, dropped, broken) = (leases.pop().unwrap(), leases.pop().unwrap(), leases.pop().unwrap());
    let names = [&released, &dropped, &broken].map(|lease| lease.name().to_string());
    released.release().await.unwrap();
    drop(dropped);
    store.break_lease(broken.name(), broken.token(), Break::Now).await.unwrap();
    for name in &names {
        within("the name is free at once", Duration::from_secs(2), async { while !is_free(&store, name).await {} })
            .await;
    }
    within("the loss of the broken one", ttl / 2, broken.lost()).await;
    pass(ttl / 2).await;
    assert!(leases.iter().all(|lease| lease.is_held()), "a neighbour was hit");
    let mut listed = 0;
    let mut after = None;
    loop {
        let page = store.list("job/", after.as_ref(), 1000).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        listed += page.len();
    }
    assert_eq!(listed, MANY - 3);
    within("everything is released", PATIENCE, client.close()).await.unwrap();
    assert!(store.list("", None, 1).await.unwrap().is_empty());
}

/// A server that allows few operations in a transaction is served with smaller ones.
#[tokio::test]
async fn l07_a_batch_fits_the_limits_of_the_server() {
    let etcd = Etcd::start_local(&[("max-txn-ops", "20")]).await.unwrap();
    let store = options().connect([etcd.url()]).await.unwrap();
    for round in 0..2 {
        let requests: Vec<_> = (0..200).map(|number| request(&format!("{round}/{number}"), LONG)).collect();
        for answer in store.acquire(&requests).await {
            assert!(matches!(answer, Ok(Acquired::Granted(_))), "{answer:?}");
        }
    }
}

/// The largest metadata in the largest batch is more than the server takes in one request.
#[tokio::test]
async fn l07_a_batch_fits_into_requests_of_any_size() {
    for settings in [&[][..], &[("max-request-bytes", "100000")]] {
        let etcd = Etcd::start_local(settings).await.unwrap();
        let store = options().connect([etcd.url()]).await.unwrap();
        let metadata = Metadata::new([("k", "\"".repeat(Metadata::MAX_BYTES - 1))]).unwrap();
        let largest = |number| lease_core::AcquireRequest {
            metadata: metadata.clone(),
            ..request(&format!("{number:0250}"), LONG)
        };
        let requests: Vec<_> = (0..256).map(largest).collect();
        for answer in store.acquire(&requests).await {
            assert!(matches!(answer, Ok(Acquired::Granted(_))), "{answer:?}");
        }
        // The answers are as large.
        for answer in store.acquire(&requests).await {
            assert!(matches!(answer, Ok(Acquired::Granted(_))), "{answer:?}");
        }
        assert_eq!(store.list("", None, 300).await.unwrap().len(), 256);
    }
}
