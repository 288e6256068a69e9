//! What a client does at its end, and how long it takes.

use std::time::Duration;

use lease_core::{Break, Clock, HolderId, LeaseState, LeaseStore, LossReason, TokioClock};
use lease_testkit::{Fault, Operation};

use crate::support::{TTL, TroubledStore, chaos, client_of, is_free, settle, within};

const SECOND: Duration = Duration::from_secs(1);

fn released(store: &TroubledStore) -> usize {
    store.calls("release").iter().sum()
}

#[tokio::test(start_paused = true)]
async fn l07_one_release_that_hangs_leaves_no_other_name_blocked_at_close() {
    let (store, clock) = (TroubledStore::new(), TokioClock::new());
    let client = crate::support::client(&store);
    let mut leases = Vec::new();
    for n in 0..200 {
        let name = if n == 77 { "cling".to_owned() } else { format!("job{n}") };
        leases.push(client.try_acquire(name, TTL).await.unwrap().acquired().unwrap());
    }
    let began = clock.now();
    client.close().await.unwrap();
    let took = clock.now().saturating_since(began);
    assert!(took <= SECOND * 11, "{took:?}");
    let mut blocked = Vec::new();
    for lease in &leases {
        if !is_free(&store, lease.name().as_str()).await {
            blocked.push(lease.name().to_string());
        }
    }
    // Those that went with it once more, in smaller company, are repeated in still smaller company.
    assert!(blocked.len() <= 16, "{blocked:?}");
    for _ in 0..20 {
        crate::support::pass(SECOND).await;
    }
    blocked.retain(|name| name != "cling");
    for name in blocked {
        assert!(is_free(&store, &name).await, "{name}");
    }
}

/// Its caller was aborted, or dropped it at a timeout. The process ends after the close.
#[tokio::test(start_paused = true)]
async fn s16_close_waits_for_a_release_whose_caller_has_gone() {
    let chaos = chaos();
    let client = client_of(&chaos);
    let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    chaos.inject(Fault::DelayRequest(SECOND).on(Operation::Release));
    assert!(within(SECOND / 10, lease.release()).await.is_none());
    client.close().await.unwrap();
    let state = chaos.inspect(&"job".parse().unwrap()).await.unwrap();
    assert!(state.is_none(), "{state:?}");
}

/// As in a `select!` whose other branch closes the client.
#[tokio::test(start_paused = true)]
async fn s16_close_does_not_wait_forever_for_a_release_that_is_not_polled() {
    let client = crate::support::client(&TroubledStore::new());
    let cling = client.try_acquire("cling", TTL).await.unwrap().acquired().unwrap();
    let mut releasing = Box::pin(cling.release());
    assert!(futures::poll!(&mut releasing).is_pending());
    within(SECOND * 15, client.close()).await.expect("the client is closed").unwrap();
}

#[tokio::test(start_paused = true)]
async fn s17_close_waits_for_the_leases_of_scopes_only() {
    let (store, clock) = (TroubledStore::new(), TokioClock::new());
    let client = crate::support::client(&store);
    let long = client.try_acquire("long", SECOND * 3600).await.unwrap().acquired().unwrap();
    let lease = client.try_acquire("scope", SECOND * 10).await.unwrap().acquired().unwrap();
    // It does not end.
    let scope = lease.scope();
    let began = clock.now();
    client.close().await.unwrap();
    let took = clock.now().saturating_since(began);
    assert!(took >= SECOND * 8 && took <= SECOND * 15, "{took:?}");
    assert_eq!(long.state(), LeaseState::Lost(LossReason::ClientGone));
    assert!(is_free(&store, "long").await);
    assert_eq!(released(&store), 1, "the lease of the scope runs out");
    drop(scope);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_released_once() {
    let store = TroubledStore::new();
    let client = crate::support::client(&store);
    let mut leases = Vec::new();
    for n in 0..100 {
        leases.push(client.try_acquire(format!("job{n}"), TTL).await.unwrap().acquired().unwrap());
    }
    let broken = client.try_acquire("broken", TTL).await.unwrap().acquired().unwrap();
    client.break_lease("broken", broken.token(), Break::Now).await.unwrap();
    broken.renew().await.unwrap_err();
    client.close().await.unwrap();
    assert_eq!(released(&store), 100);
    drop((leases, broken));
    settle().await;
    assert_eq!(released(&store), 100);
}

#[tokio::test(start_paused = true)]
async fn s15_a_look_that_is_dropped_is_not_cut() {
    let store = TroubledStore::new();
    let client = crate::support::client(&store);
    for polls in 1..4 {
        crate::support::drop_after(polls, client.inspect("job")).await;
        crate::support::drop_after(polls, client.list("", None, 1)).await;
        let mut watch = client.watch("job").unwrap();
        crate::support::drop_after(polls, watch.next()).await;
        drop(watch);
        settle().await;
    }
    let mut watch = client.watch("job").unwrap();
    crate::support::drop_after(2, watch.next()).await;
    client.close().await.unwrap();
    settle().await;
    assert_eq!(store.cut_looks(), 0);
}

#[tokio::test(start_paused = true)]
async fn s23_a_hand_over_blocks_the_name_no_longer_than_a_lease_can() {
    let store = TroubledStore::new();
    let client = crate::support::client(&store);
    let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    lease.hand_over(HolderId::new("nobody").unwrap(), Duration::MAX).await.unwrap();
    let record = client.inspect("job").await.unwrap().unwrap();
    assert!(record.remaining <= client.capabilities().max_ttl);
}
