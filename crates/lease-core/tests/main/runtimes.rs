//! Leases and the runtimes that they outlive, or that outlive them.

use std::{collections::HashSet, time::Duration};

use lease_core::{
    Break, Clock, ErrorKind, HolderId, LeaseClient, LeaseOptions, LeaseState, LossReason, SystemClock, TokioClock,
};
use lease_memory::MemoryStore;
use tokio::runtime::{Builder, Runtime};

use crate::support::{TTL, TroubledStore, is_free};

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
    let lease = runtime.block_on(client.try_acquire("job", TTL)).unwrap().acquired().unwrap();
    drop(lease);
    assert!(eventually(&runtime, async || is_free(&store, "job").await));
}

#[test]
fn s16_a_guard_dropped_after_its_runtime_does_not_panic() {
    let store = runtime().block_on(async { TroubledStore::new() });
    let client = LeaseClient::new(store.clone());
    let first = runtime();
    let lease = first.block_on(client.try_acquire("job", TTL)).unwrap().acquired().unwrap();
    drop(first);
    assert_eq!(lease.state(), LeaseState::Lost(LossReason::ClientGone));
    drop(lease);
}

/// A client whose home is this runtime, and its store.
fn store_and_client(home: &Runtime) -> (TroubledStore, LeaseClient) {
    home.block_on(async {
        let store = TroubledStore::on(MemoryStore::with_clock(SystemClock));
        (store.clone(), LeaseClient::new(store))
    })
}

#[test]
fn every_call_of_the_store_is_made_on_the_runtime_of_the_client() {
    let (home, other) = (runtime(), Builder::new_current_thread().enable_time().build().unwrap());
    let (store, client) = store_and_client(&home);
    other.block_on(async {
        let lease = client.acquire("job", TTL).await.unwrap();
        assert!(client.try_acquire("job", TTL).await.unwrap().acquired().is_none());
        lease.renew().await.unwrap();
        assert_eq!(client.inspect("job").await.unwrap().unwrap().token, lease.token());
        assert_eq!(client.list("", None, 10).await.unwrap().len(), 1);
        assert!(client.watch("job").unwrap().next().await.unwrap().unwrap().is_some());
        drop(lease);
        let lease = client.acquire("job", TTL).await.unwrap();
        client.break_lease("job", lease.token(), Break::Now).await.unwrap();
        client.run("other", TTL, async |_| ()).await.unwrap();
        client.close().await.unwrap();
    });
    assert_eq!(store.runtimes(), HashSet::from([home.handle().id()]));
    for operation in ["acquire", "renew", "release"] {
        assert!(!store.calls(operation).is_empty(), "{operation}");
    }
}

#[test]
fn on_the_runtime_of_the_client_the_caller_itself_makes_the_call() {
    let home = runtime();
    let (store, client) = store_and_client(&home);
    let task = home.spawn(async move {
        let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
        client.inspect("job").await.unwrap();
        lease.release().await.unwrap();
    });
    let id = task.id();
    home.block_on(task).unwrap();
    assert_eq!(store.tasks(), HashSet::from([id]));
}

#[test]
fn a_runtime_that_idles_or_ends_takes_no_lease_of_another_one_with_it() {
    let home = runtime();
    let (store, client) = store_and_client(&home);
    let (idle, ended) = (Builder::new_current_thread().enable_time().build().unwrap(), runtime());
    // Each of them is the first to use what all share: acquires, renewals, waits and releases.
    let first = idle.block_on(client.try_acquire("first", TTL)).unwrap().acquired().unwrap();
    ended
        .block_on(async { client.try_acquire("second", TTL).await.unwrap().acquired().unwrap().release().await })
        .unwrap();
    let held = idle.block_on(client.try_acquire("job", TTL)).unwrap().acquired().unwrap();
    let limit = LeaseOptions::new(TTL).with_wait_limit(Duration::from_millis(20));
    idle.block_on(client.acquire("job", &limit)).unwrap_err();
    ended.block_on(client.acquire("job", &limit)).unwrap_err();
    drop(ended);
    let ttl = Duration::from_millis(300);
    let lease = home.block_on(client.try_acquire("mine", ttl)).unwrap().acquired().unwrap();
    let began = SystemClock.now();
    home.block_on(held.release()).unwrap();
    drop(home.block_on(client.acquire("job", TTL)).unwrap());
    assert!(SystemClock.now().saturating_since(began) < Duration::from_secs(5));
    std::thread::sleep(ttl * 2);
    assert!(lease.is_held() && first.is_held());
    assert_eq!(store.runtimes(), HashSet::from([home.handle().id()]));
}

#[test]
fn when_its_runtime_has_ended_a_client_is_closed_and_nobody_waits() {
    let (home, other) = (runtime(), runtime());
    let (_store, client) = store_and_client(&home);
    let lease = home.block_on(client.try_acquire("job", TTL)).unwrap().acquired().unwrap();
    let mut watch = other.block_on(async { client.watch("job").unwrap() });
    let waiting = {
        let client = client.clone();
        other.spawn(async move { client.acquire("job", TTL).await.map(drop) })
    };
    other.block_on(watch.next()).unwrap().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    drop(home);
    assert_eq!(lease.state(), LeaseState::Lost(LossReason::ClientGone));
    other.block_on(async {
        let of =
            |error: lease_core::Error| (error.kind(), error.to_string().contains("runtime of this client has ended"));
        let closed = (ErrorKind::Closed, true);
        assert_eq!(of(waiting.await.unwrap().unwrap_err()), closed);
        assert_eq!(of(client.try_acquire("free", TTL).await.unwrap_err()), closed);
        assert_eq!(of(client.acquire("free", TTL).await.unwrap_err()), closed);
        assert_eq!(of(client.inspect("free").await.unwrap_err()), closed);
        assert_eq!(of(client.list("", None, 1).await.unwrap_err()), closed);
        assert_eq!(of(client.break_lease("job", lease.token(), Break::Now).await.unwrap_err()), closed);
        assert_eq!(of(watch.next().await.unwrap().unwrap_err()), closed);
        assert!(watch.next().await.is_none());
        assert_eq!(lease.lost().await, LossReason::ClientGone);
        client.close().await.unwrap();
    });
}

/// Its tasks are there, but nobody drives them.
#[test]
fn a_look_from_elsewhere_does_not_wait_for_a_runtime_that_idles_for_ever() {
    let idle = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let other = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    other.block_on(async {
        let builder = LeaseClient::builder(TroubledStore::new()).clock(TokioClock::new());
        let client = builder.runtime(idle.handle().clone()).build();
        let error = client.inspect("job").await.unwrap_err();
        assert!(error.to_string().contains("the runtime of this client"), "{error}");
        let error = client.try_acquire("job", TTL).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    });
}

#[test]
fn a_client_made_outside_of_a_runtime_lives_on_that_of_its_first_call() {
    let (first, second) = (runtime(), runtime());
    let store = first.block_on(async { TroubledStore::new() });
    let client = LeaseClient::new(store.clone());
    let lease = first.block_on(client.try_acquire("job", TTL)).unwrap().acquired().unwrap();
    second.block_on(lease.release()).unwrap();
    second.block_on(async { drop(client.try_acquire("job", TTL).await) });
    assert_eq!(store.runtimes(), HashSet::from([first.handle().id()]));
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
fn s16_a_guard_released_outside_a_runtime_is_released_and_the_call_is_an_error() {
    for hands_over in [false, true] {
        let runtime = runtime();
        let store = runtime.block_on(async { TroubledStore::new() });
        let client = LeaseClient::new(store.clone());
        let lease = runtime.block_on(client.try_acquire("job", TTL)).unwrap().acquired().unwrap();
        let error = if hands_over {
            let releasing = lease.hand_over(HolderId::new("successor").unwrap(), Duration::ZERO);
            futures::executor::block_on(releasing).unwrap_err()
        } else {
            futures::executor::block_on(lease.release()).unwrap_err()
        };
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("tokio runtime"), "{error}");
        assert!(eventually(&runtime, async || is_free(&store, "job").await));
    }
}

#[test]
fn s05_a_blocked_runtime_cannot_hide_the_loss() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let client = LeaseClient::new(TroubledStore::new());
        let ttl = Duration::from_millis(200);
        let lease = client.try_acquire("job", ttl).await.unwrap().acquired().unwrap();
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
                let lease = runtime.block_on(client.try_acquire("job", TTL)).unwrap().acquired().unwrap();
                drop(runtime);
                drop(lease);
            } else {
                runtime.block_on(async {
                    let _lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
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
        let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
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
