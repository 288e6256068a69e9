//! The end of a lease: released, dropped, handed over, abandoned (S12, S15, S16).

use std::{sync::Arc, time::Duration};

use lease_core::{ErrorKind, HolderId, LeaseOptions, LossReason, Released};

use crate::{
    Fault, Operation, Progress, RecordingStore, SeededRng,
    bench::Bench,
    calls::{held, inspected, name},
    recorded_events::RecordedEvents,
};

/// From the call of `release` the lease is not held, even before the request reaches the store.
pub async fn s12_a_guard_is_lost_before_its_release_is_sent(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    let client = bench.client_of(chaos.clone());
    for is_dropped in [false, true] {
        let lease = held(&client, &name("job"), bench.ttl * 20).await;
        chaos.inject(Fault::DelayRequest(bench.ttl / 4).on(Operation::Release).once());
        let handle = lease.handle();
        let ends = tokio::spawn(async move {
            if is_dropped {
                drop(lease);
            } else {
                lease.release().await.expect("release answers");
            }
        });
        bench.poll("the release begins", bench.tolerance(), async || (!handle.is_held()).then_some(())).await;
        if inspected(&chaos, &name("job")).await.is_some() {
            assert_eq!(handle.lost().await, LossReason::Released);
        }
        bench.expect_soon("the release ends", ends).await.expect("no panic");
        bench
            .acquire_within(&bench.client().await, &name("job"), bench.ttl + bench.tolerance())
            .await
            .release()
            .await
            .expect("answers");
    }
}

/// A renewal that is in flight when the lease is released does not revive it and is not reported as its loss. No renewal is
/// sent afterwards.
pub async fn s12_no_renewal_takes_effect_after_the_release(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    let recorded = RecordingStore::new(Arc::new(chaos.clone()));
    let events = RecordedEvents::default();
    let client = bench.builder_of(recorded.clone()).observer(events.clone()).build();
    let mut rng = SeededRng::new(12);
    let interval = bench.ttl / 20;
    let options = LeaseOptions::new(bench.ttl).with_renewal_interval(interval);
    for round in 1..=12 {
        chaos.clear_rules();
        chaos.inject(
            Fault::DelayRequest(rng.between(Duration::ZERO, interval * 2)).on(Operation::Renew).with_chance(0.7),
        );
        chaos.inject(Fault::DelayAnswer(rng.between(Duration::ZERO, interval)).on(Operation::Renew).with_chance(0.7));
        let job = name(&format!("job/{round}"));
        let lease = held(&client, &job, &options).await;
        bench.sleep(rng.between(Duration::ZERO, interval * 3)).await;
        lease.release().await.expect("release answers");
        recorded.clear();
        bench.sleep(interval * 3).await;
        assert_eq!(recorded.count(Operation::Renew), 0, "round {round}: a renewal after the release");
        assert_eq!(inspected(&chaos, &job).await, None, "round {round}: a renewal revived the lease");
        assert_eq!(events.losses(), vec![LossReason::Released; round]);
    }
}

/// An acquire that is dropped while it is in flight leaves no grant behind, alone and in a batch. The other requests of the
/// batch are granted, and no call is cancelled.
pub async fn s15_a_dropped_acquire_leaves_no_grant(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    let recorded = RecordingStore::new(Arc::new(chaos.clone()));
    let client = bench.client_of(recorded.clone());
    let ttl = bench.ttl * 20;
    for tasks in [1, 12] {
        chaos.inject(Fault::DelayAnswer(bench.ttl / 4).on(Operation::Acquire));
        let attempts: Vec<_> = (0..tasks)
            .map(|number| {
                let (client, job) = (client.clone(), format!("{tasks}/{number}"));
                tokio::spawn(async move { client.try_acquire(job, ttl).await })
            })
            .collect();
        bench.sleep(bench.ttl / 8).await;
        for attempt in attempts.iter().step_by(2) {
            attempt.abort();
        }
        for (number, attempt) in attempts.into_iter().enumerate() {
            let outcome = bench.expect_soon("the attempt ends", attempt).await;
            match outcome {
                Ok(lease) => assert!(lease.expect("answers").acquired().expect("free").is_held()),
                Err(error) => assert!(error.is_cancelled() && number % 2 == 0),
            }
        }
        chaos.clear_rules();
        for number in (0..tasks).step_by(2) {
            let job = name(&format!("{tasks}/{number}"));
            let limit = bench.ttl + bench.tolerance();
            let freed = async || inspected(&chaos, &job).await.is_none().then_some(());
            bench.poll("the unclaimed grant is released", limit, freed).await;
        }
    }
    let cut = recorded.calls().into_iter().filter(|call| call.progress == Progress::Cancelled).count();
    assert_eq!(cut, 0, "a dropped acquire cancelled a call");
}

/// A wait that is dropped leaves no grant behind.
pub async fn s15_a_dropped_wait_leaves_no_grant(bench: &Bench) {
    let (holder, waiter, chaos) = (bench.client().await, bench.client().await, bench.chaos_store().await);
    let lease = held(&holder, &name("job"), bench.ttl * 20).await;
    let ttl = bench.ttl * 20;
    let waits = tokio::spawn(async move { waiter.acquire("job", ttl).await });
    bench.sleep(bench.ttl / 4).await;
    waits.abort();
    drop(lease);
    let limit = bench.ttl + bench.tolerance();
    bench.acquire_within(&bench.client().await, &name("job"), limit).await.release().await.expect("answers");
    bench.sleep(bench.ttl / 4).await;
    assert_eq!(inspected(&chaos, &name("job")).await, None);
}

/// An acquire that is in flight while its client closes leaves no grant behind.
pub async fn s15_an_acquire_under_way_at_the_close_leaves_no_grant(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    let client = bench.client_of(chaos.clone());
    chaos.inject(Fault::DelayAnswer(bench.ttl / 4).on(Operation::Acquire));
    let ttl = bench.ttl * 20;
    let attempt = tokio::spawn({
        let client = client.clone();
        async move { client.try_acquire("job", ttl).await }
    });
    bench.sleep(bench.ttl / 8).await;
    bench.expect_soon("close ends", client.close()).await.expect("closed");
    let outcome = bench.expect_soon("the attempt ends", attempt).await.expect("no panic");
    assert!(outcome.is_err_and(|error| error.kind() == ErrorKind::Closed), "a closed client returned a lease");
    let freed = async || inspected(&chaos, &name("job")).await.is_none().then_some(());
    bench.poll("the unclaimed grant is released", bench.ttl + bench.tolerance(), freed).await;
}

/// A release whose future was dropped is completed.
pub async fn s15_a_dropped_release_is_finished(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    let lease = held(&bench.client_of(chaos.clone()), &name("job"), bench.ttl * 20).await;
    chaos.inject(Fault::DelayRequest(bench.ttl / 8).on(Operation::Release));
    assert!(
        bench.timeout(Duration::from_millis(1), lease.release()).await.is_none(),
        "the release ended before it was dropped"
    );
    let freed = async || inspected(&chaos, &name("job")).await.is_none().then_some(());
    bench.poll("the lease is released", bench.ttl + bench.tolerance(), freed).await;
}

/// A release that failed is repeated in the background.
pub async fn s16_a_failed_release_is_repeated(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    let lease = held(&bench.client_of(chaos.clone()), &name("job"), bench.ttl * 20).await;
    chaos.inject(Fault::Fail(ErrorKind::Unavailable).on(Operation::Release).once());
    let error = lease.release().await.expect_err("the request was not executed");
    assert!(error.is_transient());
    let freed = async || inspected(&chaos, &name("job")).await.is_none().then_some(());
    bench.poll("the lease is released", bench.ttl * 10 + bench.tolerance(), freed).await;
}

/// A dropped guard is released soon: within the runtime, on a thread without a runtime, and while the client closes.
pub async fn s16_a_dropped_guard_is_released(bench: &Bench) {
    let (client, store) = (bench.client().await, bench.store().await);
    let ttl = bench.ttl * 20;
    drop(held(&client, &name("inside"), ttl).await);
    let outside = held(&client, &name("outside"), ttl).await;
    std::thread::spawn(move || drop(outside)).join().expect("no panic");
    for job in ["inside", "outside"] {
        let freed = async || inspected(&*store, &name(job)).await.is_none().then_some(());
        bench.poll("the lease is released", bench.ttl + bench.tolerance(), freed).await;
    }
    let closing = held(&client, &name("closing"), ttl).await;
    let (closed, ()) = tokio::join!(client.close(), async { drop(closing) });
    closed.expect("closed");
    let freed = async || inspected(&*store, &name("closing")).await.is_none().then_some(());
    bench.poll("the lease is released", bench.ttl + bench.tolerance(), freed).await;
}

/// `hold_at_least` keeps the name blocked after the release, counted from the grant.
pub async fn hold_at_least_keeps_the_name_blocked(bench: &Bench) {
    let (client, rival) = (bench.client().await, bench.client().await);
    let began = bench.now();
    let options = LeaseOptions::new(bench.ttl * 20).with_hold_at_least(bench.ttl);
    let lease = held(&client, &name("job"), options).await;
    assert_eq!(lease.release().await.expect("release answers"), Released::Freed);
    for client in [&client, &rival] {
        assert!(
            client.try_acquire("job", bench.ttl).await.expect("answers").acquired().is_none(),
            "granted within `hold_at_least`"
        );
    }
    let won = bench.acquire_within(&rival, &name("job"), bench.ttl + bench.tolerance()).await;
    let blocked = bench.now().saturating_since(began);
    assert!(blocked >= bench.ttl.mul_f64(0.97), "blocked for only {blocked:?}");
    drop(won);
    let long = LeaseOptions::new(bench.ttl * 20).with_hold_at_least(bench.ttl / 8);
    let lease = held(&client, &name("long"), long).await;
    bench.sleep(bench.ttl / 4).await;
    lease.release().await.expect("release answers");
    held(&rival, &name("long"), bench.ttl).await.abandon();
}

/// A hand-over grants the lease to the named successor, and to no other holder in between.
pub async fn a_hand_over_reaches_its_successor(bench: &Bench) {
    let successor = HolderId::new("successor").expect("a valid holder");
    let (client, rival) = (bench.client().await, bench.client().await);
    let next = bench.builder().await.holder(successor.clone()).build();
    let lease = held(&client, &name("job"), bench.ttl * 20).await;
    let token = lease.token();
    let released = lease.hand_over(successor, bench.ttl * 20).await.expect("release answers");
    assert_eq!(released, Released::Freed);
    for other in [&client, &rival] {
        assert!(
            other.try_acquire("job", bench.ttl).await.expect("answers").acquired().is_none(),
            "granted to another holder than the successor"
        );
    }
    assert!(held(&next, &name("job"), bench.ttl).await.token() > token);
}

/// An abandoned lease is neither held nor renewed nor released. It expires.
pub async fn an_abandoned_lease_runs_out(bench: &Bench) {
    let recorded = RecordingStore::new(bench.store().await);
    let (client, rival) = (bench.client_of(recorded.clone()), bench.client().await);
    let lease = held(&client, &name("job"), bench.ttl).await;
    let handle = lease.handle();
    recorded.clear();
    lease.abandon();
    assert!(!handle.is_held());
    assert!(
        rival.try_acquire("job", bench.ttl).await.expect("answers").acquired().is_none(),
        "the name was freed before the expiry"
    );
    bench.acquire_within(&rival, &name("job"), bench.ttl + bench.tolerance()).await.abandon();
    assert_eq!((recorded.count(Operation::Renew), recorded.count(Operation::Release)), (0, 0));
}
