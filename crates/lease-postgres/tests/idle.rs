//! Connections that stay for the next call, and go back to their pool.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::{acquire, eventually, granted, request};
use lease_core::{Clock, LeaseStore, SystemClock};
use lease_postgres::PostgresStore;

/// Those that the pool has, and could lend at once.
fn resting_in_the_pool(store: &PostgresStore) -> usize {
    store.pool().num_idle()
}

#[tokio::test]
async fn a_connection_stays_for_the_next_call_and_goes_back_when_it_has_rested() {
    let store = common::store().await;
    eventually("a connection went back to the pool", async || resting_in_the_pool(&store) == 1).await;
    for number in 0..5 {
        granted(&store, &request(&format!("job-{number}"), "a")).await;
        assert_eq!((store.pool().size(), resting_in_the_pool(&store)), (1, 0), "call {number}");
    }
    eventually("a connection went back to the pool", async || resting_in_the_pool(&store) == 1).await;
    assert_eq!(store.pool().size(), 1);
}

/// Whoever shares the pool finds half of it there, whatever the leases do.
#[tokio::test]
async fn no_more_than_half_of_a_pool_stays_out_of_it() {
    let store = common::store().await;
    let narrow = sqlx::postgres::PgPoolOptions::new().max_connections(3).connect(common::url().await).await.unwrap();
    let shared = common::options_of(&store).with_pool(narrow).unwrap();
    let requests: Vec<_> = (0..3).map(|number| [request(&format!("job-{number}"), "a")]).collect();
    futures::future::join_all(requests.iter().map(|request| shared.acquire(request))).await;
    let clock = SystemClock;
    let began = clock.now();
    let (one, other) = (shared.pool().acquire().await.unwrap(), shared.pool().acquire().await.unwrap());
    let waited = clock.now().saturating_since(began);
    assert_eq!(resting_in_the_pool(&shared), 0);
    assert!(waited < Duration::from_millis(50), "the others waited for {waited:?}");
    drop((one, other));
}

/// A call that waits at the pool gets the connection of the call that ends, and not what has rested.
#[tokio::test]
async fn nothing_rests_while_another_call_waits() {
    let store = common::store().await;
    let narrow = sqlx::postgres::PgPoolOptions::new().max_connections(2).connect(common::url().await).await.unwrap();
    let shared = common::options_of(&store).with_pool(narrow).unwrap();
    let _application = shared.pool().acquire().await.unwrap();
    let clock = SystemClock;
    let mut rounds = Vec::new();
    for round in 0..20 {
        let requests = [[request(&format!("job-{round}-1"), "a")], [request(&format!("job-{round}-2"), "a")]];
        let began = clock.now();
        futures::future::join_all(requests.iter().map(|request| shared.acquire(request))).await;
        rounds.push(clock.now().saturating_since(began));
    }
    rounds.sort();
    assert!(rounds[15] < Duration::from_millis(60), "two calls by one connection took {rounds:?}");
}

#[tokio::test]
async fn a_pool_can_be_closed_at_once() {
    let store = common::store().await;
    granted(&store, &request("job", "a")).await;
    let clock = SystemClock;
    let began = clock.now();
    store.pool().close().await;
    let waited = clock.now().saturating_since(began);
    assert!(waited < Duration::from_millis(500), "closing took {waited:?}");
    let error = acquire(&store, &request("job", "b")).await.unwrap_err();
    assert_eq!(error.kind(), lease_core::ErrorKind::Closed);
}

/// Nothing can be given back where nothing can be spawned: it is closed, and does not panic (S16).
#[test]
fn the_last_store_may_go_outside_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(async {
        let store = common::store().await;
        granted(&store, &request("job", "a")).await;
        store
    });
    drop(store);
    drop(runtime);
}

/// A runtime that ends takes its watch along; on the next one, connections still go back.
#[test]
fn a_runtime_that_ended_leaves_nobody_unwatched() {
    let first = tokio::runtime::Runtime::new().unwrap();
    let store = first.block_on(async {
        let store = common::store().await;
        granted(&store, &request("job-1", "a")).await;
        store
    });
    drop(first);
    std::thread::sleep(Duration::from_millis(300));
    let second = tokio::runtime::Runtime::new().unwrap();
    second.block_on(async {
        // Its connection ended with the runtime that it was made on.
        let _ = acquire(&store, &request("job-2", "a")).await;
        granted(&store, &request("job-3", "a")).await;
        eventually("a connection went back to the pool", async || resting_in_the_pool(&store) > 0).await;
        drop(store);
    });
}
