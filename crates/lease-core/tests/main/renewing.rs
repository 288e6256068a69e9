//! One task renews all leases of a client, in few requests.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use lease_core::{Break, ErrorKind, LeaseEvent, LeaseName, LeaseOptions, LeaseState, LossReason, Observer, Renewal};

use crate::support::{TTL, TroubledStore, builder, client, pass, settle, within};

#[tokio::test(start_paused = true)]
async fn ten_thousand_leases_cost_one_task_and_few_requests() {
    let store = TroubledStore::new();
    let client = client(&store);
    let ttl = Duration::from_secs(10);
    let mut leases = Vec::new();
    // Acquired over two renewal intervals, so that they are not due together by accident.
    for group in 0..200 {
        let names = (0..50).map(|n| client.try_acquire(format!("job-{group}-{n}"), ttl));
        leases.extend(join_all(names).await.into_iter().map(|lease| lease.unwrap().acquired().unwrap()));
        pass(Duration::from_millis(33)).await;
    }
    settle().await;
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(tasks <= 2, "{tasks} tasks for 10 000 leases");

    let before = store.calls("renew").len();
    for _ in 0..100 {
        pass(Duration::from_millis(100)).await;
    }
    let calls = &store.calls("renew")[before..];
    let intervals = 3;
    assert!(leases.iter().all(|lease| lease.state() == LeaseState::Held));
    assert!(calls.iter().sum::<usize>() >= 10_000 * (intervals - 1), "every lease is renewed in every interval");
    assert!(calls.len() <= 60 * intervals, "{} requests in {intervals} intervals", calls.len());
}

#[tokio::test(start_paused = true)]
async fn renewals_that_are_due_soon_fill_a_batch_and_the_others_wait_for_their_time() {
    let store = TroubledStore::new();
    let client = client(&store);
    let mut leases = Vec::new();
    for group in 0..6 {
        let names = (0..100).map(|n| client.try_acquire(format!("job-{group}-{n}"), TTL));
        leases.extend(join_all(names).await);
        pass(Duration::from_millis(10)).await;
    }
    pass(TTL / 3 - Duration::from_millis(61)).await;
    assert!(store.calls("renew").is_empty());
    pass(Duration::from_millis(2)).await;
    assert_eq!(store.calls("renew"), [256], "the first group is due");
    pass(Duration::from_millis(60)).await;
    assert_eq!(store.calls("renew"), [256, 256, 88]);
}

#[tokio::test(start_paused = true)]
async fn s06_a_hint_that_a_grant_has_ended_brings_its_renewal_and_nothing_else() {
    let store = TroubledStore::new();
    let client = client(&store);
    let earlier = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    let earlier_token = earlier.token();
    earlier.release().await.unwrap();
    let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    let other = client.try_acquire("job2", TTL).await.unwrap().acquired().unwrap();
    let by_hand = LeaseOptions::new(TTL).with_renewal(Renewal::Manual);
    let by_hand = client.try_acquire("by-hand", by_hand).await.unwrap().acquired().unwrap();
    assert_eq!(store.asked_for_endings(), 0, "who comes and goes does not listen");
    pass(Duration::from_millis(1001)).await;
    assert_eq!(store.asked_for_endings(), 1);
    store.revocations.notify(lease.name(), earlier_token);
    store.revocations.notify(by_hand.name(), by_hand.token());
    store.revocations.notify(&"unknown".parse().unwrap(), lease.token());
    settle().await;
    assert!(store.calls("renew").is_empty(), "nothing of what is kept has ended");

    // Wrong hints cost a renewal, and no more.
    store.revocations.notify(lease.name(), lease.token());
    store.revocations.notify(lease.name(), lease.token());
    settle().await;
    assert_eq!(store.calls("renew"), [1]);
    assert!(lease.is_held() && other.is_held() && by_hand.is_held());

    // The store's word counts.
    client.break_lease("job", lease.token(), Break::Now).await.unwrap();
    assert!(lease.is_held(), "nobody has told it");
    store.revocations.notify(lease.name(), lease.token());
    assert_eq!(lease.lost().await, LossReason::Broken);
    assert!(other.is_held());
    assert_eq!(store.calls("renew"), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn s12_a_queued_renewal_of_a_released_lease_is_not_sent() {
    let store = TroubledStore::new();
    let client = client(&store);
    let first = client.try_acquire("first", TTL).await.unwrap().acquired().unwrap();
    pass(Duration::from_secs(3)).await;
    let second = client.try_acquire("second", TTL).await.unwrap().acquired().unwrap();
    pass(Duration::from_millis(6990)).await;
    // The renewal of the first one is under way from 10 s on, that of the second one comes behind it.
    store.close_gate();
    pass(Duration::from_millis(20)).await;
    assert_eq!(store.calls("renew"), [1]);
    let renewing = second.handle();
    let mut renewal = Box::pin(renewing.renew());
    assert!(futures::poll!(&mut renewal).is_pending());
    let mut release = Box::pin(second.release());
    assert!(futures::poll!(&mut release).is_pending());
    store.open_gate();
    release.await.unwrap();
    renewal.await.unwrap_err();
    assert_eq!(store.calls("renew"), [1], "the renewal went out after the release");
    assert!(first.is_held());
}

/// Simulations are repeated exactly.
#[tokio::test(start_paused = true)]
async fn leases_end_with_their_client_in_the_order_in_which_they_began() {
    #[derive(Debug, Clone, Default)]
    struct Losses(Arc<Mutex<Vec<LeaseName>>>);

    impl Observer for Losses {
        fn observe(&self, event: &LeaseEvent) {
            if let LeaseEvent::Lost { name, .. } = event {
                self.0.lock().unwrap().push(name.clone());
            }
        }
    }

    let losses = Losses::default();
    let client = builder(&TroubledStore::new()).observer(losses.clone()).build();
    let mut leases = Vec::new();
    for n in (0..20).rev() {
        leases.push(client.try_acquire(format!("job-{n}"), TTL).await.unwrap().acquired().unwrap());
    }
    client.close().await.unwrap();
    let names: Vec<_> = leases.iter().map(|lease| lease.name().clone()).collect();
    assert_eq!(*losses.0.lock().unwrap(), names);
}

#[tokio::test(start_paused = true)]
async fn l09_the_failure_of_an_older_renewal_is_no_jeopardy() {
    let store = TroubledStore::new();
    let client = client(&store);
    let minute = Duration::from_secs(60);
    let relaxed = LeaseOptions::new(minute).with_renewal_interval(Duration::from_secs(3));
    let urgent = relaxed.clone().with_attempt_timeout(Duration::from_millis(200));
    // The first call has both, and hangs for as long as the relaxed one waits.
    let (relaxed, urgent) = (
        client.try_acquire("stuck", relaxed).await.unwrap().acquired().unwrap(),
        client.try_acquire("urgent", urgent).await,
    );
    let urgent = urgent.unwrap().acquired().unwrap();
    for _ in 0..200 {
        pass(Duration::from_millis(50)).await;
        // When its answer is overdue, it is renewed alone, at once.
        assert_eq!(urgent.state(), LeaseState::Held);
    }
    assert!(relaxed.is_held());
}

#[tokio::test(start_paused = true)]
async fn s23_intervals_without_an_end_are_no_overflow() {
    let store = TroubledStore::new();
    let client = client(&store);
    let options = LeaseOptions::new(TTL)
        .with_renewal(Renewal::Manual)
        .with_renewal_interval(Duration::MAX)
        .with_attempt_timeout(Duration::MAX);
    let lease = client.try_acquire("job", &options).await.unwrap().acquired().unwrap();
    lease.renew().await.unwrap();
    assert!(client.try_acquire("poison", &options).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn l07_leases_whose_renewals_hang_take_no_lease_of_a_shorter_ttl_with_them() {
    for (stuck, long, short) in
        [(9, 60, 1), (64, 60, 2), (64, 60, 1), (200, 60, 2), (32, 60, 5), (100, 60, 5), (100, 60, 30)]
    {
        let store = TroubledStore::new();
        let client = client(&store);
        let (long, short) = (Duration::from_secs(long), Duration::from_secs(short));
        let mut leases = Vec::new();
        for n in 0..stuck {
            leases.push(client.try_acquire(format!("stuck{n}"), long).await.unwrap().acquired().unwrap());
            pass(long / 3 / stuck).await;
        }
        let healthy = client.try_acquire("healthy", short).await.unwrap().acquired().unwrap();
        let lost = within(long + short, healthy.lost()).await;
        assert_eq!(lost, None, "{stuck} leases of {long:?} hang beside one of {short:?}");
    }
}

/// The answer could not come, so the outcome would be unknown for nothing.
#[tokio::test(start_paused = true)]
async fn s24_no_renewal_is_begun_with_less_time_left_than_a_round_trip_takes() {
    for (left, calls) in [(Duration::from_micros(1500), vec![]), (Duration::from_millis(4), vec![1])] {
        let store = TroubledStore::new();
        let lease = client(&store).try_acquire("job", TTL).await.unwrap().acquired().unwrap();
        store.close_gate();
        // As on a runtime that is blocked.
        pass(lease.remaining() - left).await;
        assert!(lease.is_held());
        assert_eq!(store.calls("renew"), calls, "{left:?} before the end");
        pass(left).await;
        assert_eq!(lease.lost().await, LossReason::Expired);
        assert_eq!(store.calls("renew"), calls, "{left:?} before the end");
    }
}

#[tokio::test(start_paused = true)]
async fn s24_a_renewal_by_hand_that_comes_too_late_is_not_sent() {
    let store = TroubledStore::new();
    let by_hand = LeaseOptions::new(TTL).with_renewal(Renewal::Manual);
    let lease = client(&store).try_acquire("job", by_hand).await.unwrap().acquired().unwrap();
    pass(lease.remaining() - Duration::from_micros(1500)).await;
    let error = lease.renew().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("too little time left"), "{error}");
    assert!(store.calls("renew").is_empty() && lease.is_held());
}
