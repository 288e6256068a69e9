//! Leases and the runtimes that they outlive, or that outlive them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use lease_core::{ErrorKind, LeaseClient, LeaseState, LossReason};
use support::{TTL, TroubledStore, is_free};
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
}

/// Until it is true, for a while.
fn eventually(runtime: &Runtime, condition: impl AsyncFn() -> bool) -> bool {
    runtime.block_on(async {
        for _ in 0..1000 {
            if condition().await {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
            tokio::task::yield_now().await;
        }
        false
    })
}

#[test]
fn s16_a_guard_dropped_outside_a_runtime_is_released() {
    let (runtime, store) = (runtime(), runtime().block_on(async { TroubledStore::new() }));
    let client = LeaseClient::new(store.clone());
    let lease = runtime.block_on(client.try_acquire("job", TTL)).unwrap().unwrap();
    drop(lease);
    assert!(eventually(&runtime, async || is_free(&store, "job").await));
}

#[test]
fn s16_a_guard_dropped_after_its_runtime_does_not_panic() {
    let store = runtime().block_on(async { TroubledStore::new() });
    let client = LeaseClient::new(store.clone());
    let first = runtime();
    let lease = first.block_on(client.try_acquire("job", TTL)).unwrap().unwrap();
    drop(first);
    assert_eq!(lease.state(), LeaseState::Lost(LossReason::ClientGone));
    drop(lease);
}

#[test]
fn leases_of_a_runtime_that_is_gone_are_lost_and_new_ones_are_renewed_by_the_next() {
    let store = runtime().block_on(async { TroubledStore::new() });
    let client = LeaseClient::new(store.clone());
    let first = runtime();
    let old = first.block_on(client.try_acquire("old", TTL)).unwrap().unwrap();
    drop(first);
    assert!(!old.is_held());
    let second = runtime();
    let ttl = Duration::from_millis(300);
    let new = second.block_on(client.try_acquire("new", ttl)).unwrap().unwrap();
    second.block_on(async { assert_eq!(old.lost().await, LossReason::ClientGone) });
    std::thread::sleep(ttl * 2);
    assert!(new.is_held());
    // Dropped within the second runtime, the old one is released there.
    second.block_on(async { drop(old) });
    assert!(eventually(&second, async || is_free(&store, "old").await));
}

#[test]
fn waiters_of_a_runtime_that_lives_are_served_when_that_of_the_first_waiter_is_gone() {
    let store = runtime().block_on(async { TroubledStore::new() });
    let client = LeaseClient::new(store.clone());
    let (first, second) = (runtime(), runtime());
    let lease = second.block_on(client.try_acquire("job", TTL)).unwrap().unwrap();
    for runtime in [&first, &second] {
        let client = client.clone();
        runtime.spawn(async move { client.acquire("job", TTL).await.map(std::mem::forget) });
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(first);
    let token = lease.token();
    second.block_on(lease.release()).unwrap();
    assert!(eventually(&second, async || { store_record(&store).await.is_some_and(|record| record.token > token) }));
}

async fn store_record(store: &TroubledStore) -> Option<lease_core::LeaseRecord> {
    use lease_core::LeaseStore;
    store.inspect(&"job".parse().unwrap()).await.unwrap()
}

#[test]
fn a_call_outside_a_runtime_is_a_typed_error() {
    let store = runtime().block_on(async { TroubledStore::new() });
    let client = LeaseClient::new(store);
    let error = futures::executor::block_on(client.try_acquire("job", TTL)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("tokio runtime"), "{error}");
}

#[test]
fn s05_a_blocked_runtime_cannot_hide_the_loss() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let client = LeaseClient::new(TroubledStore::new());
        let ttl = Duration::from_millis(200);
        let lease = client.try_acquire("job", ttl).await.unwrap().unwrap();
        let mut polls = 0;
        let outcome = lease
            .while_held(async {
                loop {
                    polls += 1;
                    // Blocks the only thread for longer than the lease lasts.
                    std::thread::sleep(ttl * 2);
                    tokio::task::yield_now().await;
                }
            })
            .await;
        let never: Result<std::convert::Infallible, _> = outcome;
        assert_eq!(never.unwrap_err().reason, LossReason::Expired);
        assert_eq!(polls, 1, "the work was polled after its lease was lost");
    });
}

#[test]
fn s16_a_guard_dropped_as_its_runtime_ends_keeps_neither_client_nor_store() {
    for after_the_runtime in [false, true] {
        for _ in 0..20 {
            let runtime = Builder::new_current_thread().enable_time().build().unwrap();
            let store = runtime.block_on(async { TroubledStore::new() });
            let client = LeaseClient::new(store.clone());
            if after_the_runtime {
                let lease = runtime.block_on(client.try_acquire("job", TTL)).unwrap().unwrap();
                drop(runtime);
                drop(lease);
            } else {
                runtime.block_on(async {
                    let _lease = client.try_acquire("job", TTL).await.unwrap().unwrap();
                });
                drop(runtime);
            }
            drop(client);
            assert_eq!(store.clones(), 1, "dropped after the runtime: {after_the_runtime}");
        }
    }
}

#[test]
fn s16_close_waits_for_the_releases_of_guards_that_were_dropped_before() {
    let runtime = runtime();
    let store = runtime.block_on(async { TroubledStore::new() });
    let client = LeaseClient::new(store.clone());
    runtime.block_on(async {
        let lease = client.try_acquire("job", TTL).await.unwrap().unwrap();
        store.close_gate();
        drop(lease);
        let closing = tokio::spawn(async move { client.close().await });
        // The worker thread has the time to finish it.
        std::thread::sleep(Duration::from_millis(50));
        assert!(!closing.is_finished());
        store.open_gate();
        closing.await.unwrap().unwrap();
        assert!(is_free(&store, "job").await);
    });
}
