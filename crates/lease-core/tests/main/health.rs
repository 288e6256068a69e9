//! The health of a client.

#![allow(clippy::disallowed_methods, reason = "the clock of the test is that of its paused runtime")]

use std::{sync::mpsc, thread, time::Duration};

use lease_core::{LeaseClient, LeaseOptions, Renewal, Trouble};
use lease_memory::MemoryStore;
use tokio::time::sleep;

use crate::support::{TTL, TroubledStore, client, settle};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn an_idle_client_is_live_and_ready() {
    let client = client(&TroubledStore::new());
    assert!(client.health().is_live() && client.health().is_ready(SECOND));
    let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    sleep(TTL * 10).await;
    let health = client.health();
    assert!(lease.is_held() && health.is_live() && health.is_ready(SECOND), "{health}");
    assert_eq!(health.to_string(), "ok");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_makes_a_client_not_ready_and_never_not_live() {
    let store = TroubledStore::new();
    let client = client(&store);
    let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    store.close_gate();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.acquire("other", TTL).await.map(drop) }
    });
    sleep(TTL * 2 / 3).await;
    let health = client.health();
    assert!(lease.is_held() && health.is_live() && !health.is_ready(SECOND * 60), "{health}");
    assert!(health.to_string().contains("the lease job with token"), "{health}");

    // Its lease is lost; the wait goes on.
    sleep(TTL * 2).await;
    let health = client.health();
    assert!(!lease.is_held() && health.is_live() && !health.is_ready(SECOND * 10), "{health}");
    assert!(matches!(health.troubles(), [Trouble::Unanswered { since, .. }] if *since > TTL), "{health}");
    assert!(health.is_ready(TTL * 10), "it has not been out of reach for that long");

    store.open_gate();
    waiting.await.unwrap().unwrap();
    let health = client.health();
    assert!(health.is_live() && health.is_ready(SECOND), "{health}");
}

/// Otherwise an orchestrator would send no work to a process that could never show that the store is back.
#[tokio::test(start_paused = true)]
async fn a_store_that_is_not_called_any_more_does_not_make_a_client_not_ready() {
    let store = TroubledStore::new();
    let client = client(&store);
    store.close_gate();
    assert!(client.try_acquire("job", TTL).await.is_err());
    sleep(SECOND * 5).await;
    assert!(client.try_acquire("job", TTL).await.is_err());
    assert!(!client.health().is_ready(SECOND * 6));
    sleep(SECOND * 60).await;
    assert!(client.health().is_ready(SECOND * 6));
    assert!(client.try_acquire("job", TTL).await.is_err());
    assert!(!client.health().is_ready(SECOND * 6), "at the first failure, since there was no answer in between");
}

#[test]
fn a_blocked_runtime_makes_a_client_not_live() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let ttl = Duration::from_millis(600);
    let client = runtime.block_on(async { LeaseClient::new(MemoryStore::new()) });
    assert!(client.health().is_live(), "nothing is due");
    let lease = runtime.block_on(client.acquire("job", LeaseOptions::new(ttl))).unwrap();
    let (unblock, blocked) = mpsc::channel::<()>();
    runtime.spawn(async move {
        let _ = blocked.recv();
    });
    thread::sleep(ttl / 6);
    assert!(client.health().is_live(), "no renewal is due yet");
    thread::sleep(ttl * 2);
    let health = client.health();
    assert!(!health.is_live(), "{health}");
    assert!(health.to_string().contains("blocked"), "{health}");
    drop(unblock);
    thread::sleep(ttl / 2);
    let health = client.health();
    assert!(health.is_live() && !lease.is_held(), "{health}");
}

#[tokio::test(start_paused = true)]
async fn work_that_outlives_its_lease_makes_a_client_not_live() {
    let client = client(&TroubledStore::new());
    let options = LeaseOptions::new(TTL).with_renewal(Renewal::Manual);
    let lease = client.try_acquire("job", options).await.unwrap().acquired().unwrap();
    let (scope, another) = (lease.scope(), lease.scope());
    sleep(TTL).await;
    assert!(client.health().is_live(), "it is lost only now");
    sleep(SECOND * 10).await;
    drop(another);
    let health = client.health();
    assert!(!health.is_live(), "{health}");
    assert!(health.to_string().contains("the work under it has not ended"), "{health}");
    drop(scope);
    assert!(client.health().is_live());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_is_not_ready() {
    let client = client(&TroubledStore::new());
    client.close().await.unwrap();
    settle().await;
    assert!(client.health().is_live() && !client.health().is_ready(SECOND));
}
