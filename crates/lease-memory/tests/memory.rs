//! The parts that only this store has: purging, removing records, and a clock of choice.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lease_core::{
    AcquireRequest, Acquired, Claim, Clock, Grant, GrantId, HolderId, LeaseClient, LeaseName, LeaseOptions, LeaseStore,
    LossReason, RenewRequest, Renewed, SystemClock, TokioClock, Wakeups,
};
use lease_memory::MemoryStore;

const MINUTE: Duration = Duration::from_secs(60);

fn request(job: &str) -> AcquireRequest {
    AcquireRequest::new(LeaseName::new(job).unwrap(), HolderId::new("a").unwrap(), GrantId::random(), MINUTE)
}

async fn granted(store: &MemoryStore, request: &AcquireRequest) -> Grant {
    match store.acquire(std::slice::from_ref(request)).await.pop().unwrap().unwrap() {
        Acquired::Granted(grant) => grant,
        other => panic!("unexpected answer: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn s09_a_purge_removes_old_records_and_tokens_keep_rising() {
    let clock = TokioClock::new();
    let store = MemoryStore::with_clock(clock);
    for _ in 0..3 {
        granted(&store, &request("old")).await;
        clock.sleep_until(clock.now() + 2 * MINUTE).await;
    }
    let held = granted(&store, &request("held")).await;
    assert_eq!(store.purge(5 * MINUTE), 0, "its grant ended only a minute ago");
    assert_eq!(store.purge(MINUTE), 1);
    assert_eq!(store.purge(Duration::ZERO), 0, "a held name stays");
    assert_eq!(held.token.get(), 1);
    assert!(granted(&store, &request("old")).await.token.get() > 3);
    assert!(granted(&store, &request("new")).await.token.get() > 3);
}

#[tokio::test(start_paused = true)]
async fn a_removed_lease_is_gone_for_its_holder() {
    let store = MemoryStore::new();
    let mine = request("job");
    let grant = granted(&store, &mine).await;
    assert!(store.clone().remove(&mine.name) && !store.remove(&mine.name));
    let claim = Claim::new(mine.name, mine.holder, mine.grant).with_handle(grant.handle);
    let renewed = store.renew(&[RenewRequest::new(claim, MINUTE)]).await.pop().unwrap().unwrap();
    assert_eq!(renewed, Renewed::Lost(LossReason::Gone));
}

/// Otherwise a caller that repeats a request, because its answers are lost, would wake itself again and again.
#[tokio::test(start_paused = true)]
async fn s13_a_grant_that_is_met_again_is_not_announced_again() {
    let store = MemoryStore::new();
    let request = request("job").with_announce(true);
    let mut wakeups = store.subscribe(&request.name);
    wakeups.next().await;
    let is_announced = async |wakeups: &mut Wakeups| {
        tokio::select! {
            biased;
            () = wakeups.next() => true,
            () = std::future::ready(()) => false,
        }
    };
    let grant = granted(&store, &request).await;
    assert!(is_announced(&mut wakeups).await);
    assert_eq!(granted(&store, &request).await.token, grant.token);
    assert!(!is_announced(&mut wakeups).await);
}

#[tokio::test(start_paused = true)]
async fn stores_are_apart_and_clones_are_not() {
    let store: Arc<dyn LeaseStore> = Arc::new(MemoryStore::new());
    let separate = MemoryStore::default();
    granted(&separate, &request("job")).await;
    assert_eq!(store.inspect(&LeaseName::new("job").unwrap()).await.unwrap(), None);
    assert!(separate.clone().inspect(&LeaseName::new("job").unwrap()).await.unwrap().is_some());
}

/// One that acquires a name again at once does not keep another client waiting for ever (F19).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_a_client_that_comes_back_at_once_lets_others_have_their_turn() {
    let store = MemoryStore::new();
    let (greedy, other) = (LeaseClient::new(store.clone()), LeaseClient::new(store));
    let turns = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&turns);
    let task = tokio::spawn(async move {
        loop {
            let lease = greedy.acquire("hot", MINUTE).await.unwrap();
            SystemClock.sleep_until(SystemClock.now() + Duration::from_millis(2)).await;
            lease.release().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    for _ in 0..10 {
        let before = turns.load(Ordering::Relaxed);
        let waits = LeaseOptions::new(MINUTE).with_wait_limit(MINUTE / 6);
        other.acquire("hot", waits).await.unwrap().release().await.unwrap();
        let waited = turns.load(Ordering::Relaxed) - before;
        assert!(waited <= 100, "{waited} turns");
    }
    task.abort();
}
