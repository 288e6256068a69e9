//! The end of a lease: released, dropped, handed over, abandoned (S12, S15, S16).

use std::{sync::Arc, time::Duration};

use lease_core::{ErrorKind, HolderId, LeaseOptions, LossReason, Released};

use crate::{
    Fault, Operation, Progress, RecordingStore, SeededRng,
    bench::Bench,
    calls::{held, inspected, name},
    seen::Seen,
};

/// From the call of `release` on the lease is not held, although the store does not know yet.
pub async fn s12_a_guard_is_lost_before_its_release_is_sent(bench: &Bench) {
    let chaos = bench.chaos().await;
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
        bench.poll("it has begun", bench.patience(), async || (!handle.is_held()).then_some(())).await;
        if inspected(&chaos, &name("job")).await.is_some() {
            assert_eq!(handle.lost().await, LossReason::Released);
        }
        bench.soon("the release ends", ends).await.expect("no panic");
        bench
            .taken(&bench.client().await, &name("job"), bench.ttl + bench.patience())
            .await
            .release()
            .await
            .expect("answers");
    }
}

/// Renewals that were under way when the lease was released neither revive it nor are reported as its loss, and none is
/// sent afterwards.
pub async fn s12_no_renewal_takes_effect_after_the_release(bench: &Bench) {
    let chaos = bench.chaos().await;
    let recorded = RecordingStore::new(Arc::new(chaos.clone()));
    let seen = Seen::default();
    let client = bench.builder_of(recorded.clone()).observer(seen.clone()).build();
    let mut rng = SeededRng::new(12);
    let interval = bench.ttl / 20;
    let options = LeaseOptions::new(bench.ttl).with_renewal_interval(interval);
    for round in 1..=12 {
        chaos.calm();
        chaos.inject(
            Fault::DelayRequest(rng.between(Duration::ZERO, interval * 2)).on(Operation::Renew).with_chance(0.7),
        );
        chaos.inject(Fault::DelayAnswer(rng.between(Duration::ZERO, interval)).on(Operation::Renew).with_chance(0.7));
        let job = name(&format!("job/{round}"));
        let lease = held(&client, &job, &options).await;
        bench.pass(rng.between(Duration::ZERO, interval * 3)).await;
        lease.release().await.expect("release answers");
        recorded.clear();
        bench.pass(interval * 3).await;
        assert_eq!(recorded.count(Operation::Renew), 0, "round {round}: a renewal after the release");
        assert_eq!(inspected(&chaos, &job).await, None, "round {round}: revived");
        assert_eq!(seen.losses(), vec![LossReason::Released; round]);
    }
}

/// An acquire that is dropped while it is under way leaves no grant behind: alone, and in the middle of a batch. Its
/// neighbours get theirs, and no call is cut.
pub async fn s15_a_dropped_acquire_leaves_no_grant(bench: &Bench) {
    let chaos = bench.chaos().await;
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
        bench.pass(bench.ttl / 8).await;
        for attempt in attempts.iter().step_by(2) {
            attempt.abort();
        }
        for (number, attempt) in attempts.into_iter().enumerate() {
            let outcome = bench.soon("the attempt ends", attempt).await;
            match outcome {
                Ok(lease) => assert!(lease.expect("answers").acquired().expect("free").is_held()),
                Err(error) => assert!(error.is_cancelled() && number % 2 == 0),
            }
        }
        chaos.calm();
        for number in (0..tasks).step_by(2) {
            let job = name(&format!("{tasks}/{number}"));
            let limit = bench.ttl + bench.patience();
            let gone = async || inspected(&chaos, &job).await.is_none().then_some(());
            bench.poll("what nobody claims is released", limit, gone).await;
        }
    }
    let cut = recorded.calls().into_iter().filter(|call| call.progress == Progress::Cut).count();
    assert_eq!(cut, 0, "a dropped caller has cut a call");
}

/// A wait that is dropped leaves no grant behind.
pub async fn s15_a_dropped_wait_leaves_no_grant(bench: &Bench) {
    let (holder, waiter, chaos) = (bench.client().await, bench.client().await, bench.chaos().await);
    let lease = held(&holder, &name("job"), bench.ttl * 20).await;
    let ttl = bench.ttl * 20;
    let waits = tokio::spawn(async move { waiter.acquire("job", ttl).await });
    bench.pass(bench.ttl / 4).await;
    waits.abort();
    drop(lease);
    let limit = bench.ttl + bench.patience();
    bench.taken(&bench.client().await, &name("job"), limit).await.release().await.expect("answers");
    bench.pass(bench.ttl / 4).await;
    assert_eq!(inspected(&chaos, &name("job")).await, None);
}

/// An acquire that is under way while its client closes leaves no grant behind.
pub async fn s15_an_acquire_under_way_at_the_close_leaves_no_grant(bench: &Bench) {
    let chaos = bench.chaos().await;
    let client = bench.client_of(chaos.clone());
    chaos.inject(Fault::DelayAnswer(bench.ttl / 4).on(Operation::Acquire));
    let ttl = bench.ttl * 20;
    let attempt = tokio::spawn({
        let client = client.clone();
        async move { client.try_acquire("job", ttl).await }
    });
    bench.pass(bench.ttl / 8).await;
    bench.soon("close ends", client.close()).await.expect("closed");
    let outcome = bench.soon("the attempt ends", attempt).await.expect("no panic");
    assert!(outcome.is_err_and(|error| error.kind() == ErrorKind::Closed), "a lease of a closed client");
    let gone = async || inspected(&chaos, &name("job")).await.is_none().then_some(());
    bench.poll("what nobody claims is released", bench.ttl + bench.patience(), gone).await;
}

/// A release whose caller has gone is finished all the same.
pub async fn s15_a_dropped_release_is_finished(bench: &Bench) {
    let chaos = bench.chaos().await;
    let lease = held(&bench.client_of(chaos.clone()), &name("job"), bench.ttl * 20).await;
    chaos.inject(Fault::DelayRequest(bench.ttl / 8).on(Operation::Release));
    assert!(bench.or_timeout(Duration::from_millis(1), lease.release()).await.is_none(), "it takes longer");
    let gone = async || inspected(&chaos, &name("job")).await.is_none().then_some(());
    bench.poll("it is released", bench.ttl + bench.patience(), gone).await;
}

/// A release that failed is tried again in the background.
pub async fn s16_a_failed_release_is_repeated(bench: &Bench) {
    let chaos = bench.chaos().await;
    let lease = held(&bench.client_of(chaos.clone()), &name("job"), bench.ttl * 20).await;
    chaos.inject(Fault::Fail(ErrorKind::Unavailable).on(Operation::Release).once());
    let error = lease.release().await.expect_err("the store was not told");
    assert!(error.is_transient());
    let gone = async || inspected(&chaos, &name("job")).await.is_none().then_some(());
    bench.poll("it is released", bench.ttl * 10 + bench.patience(), gone).await;
}

/// Dropping a guard releases it soon: within the runtime, on a thread that has none, and while the client closes.
pub async fn s16_a_dropped_guard_is_released(bench: &Bench) {
    let (client, store) = (bench.client().await, bench.store().await);
    let ttl = bench.ttl * 20;
    drop(held(&client, &name("inside"), ttl).await);
    let outside = held(&client, &name("outside"), ttl).await;
    std::thread::spawn(move || drop(outside)).join().expect("no panic");
    for job in ["inside", "outside"] {
        let gone = async || inspected(&*store, &name(job)).await.is_none().then_some(());
        bench.poll("it is released", bench.ttl + bench.patience(), gone).await;
    }
    let closing = held(&client, &name("closing"), ttl).await;
    let (closed, ()) = tokio::join!(client.close(), async { drop(closing) });
    closed.expect("closed");
    let gone = async || inspected(&*store, &name("closing")).await.is_none().then_some(());
    bench.poll("it is released", bench.ttl + bench.patience(), gone).await;
}

/// A short job that must not run twice keeps its name blocked for a while, counted from the grant.
pub async fn hold_at_least_keeps_the_name_blocked(bench: &Bench) {
    let (client, rival) = (bench.client().await, bench.client().await);
    let began = bench.now();
    let options = LeaseOptions::new(bench.ttl * 20).with_hold_at_least(bench.ttl);
    let lease = held(&client, &name("job"), options).await;
    assert_eq!(lease.release().await.expect("release answers"), Released::Freed);
    for client in [&client, &rival] {
        assert!(client.try_acquire("job", bench.ttl).await.expect("answers").acquired().is_none(), "run twice");
    }
    let won = bench.taken(&rival, &name("job"), bench.ttl + bench.patience()).await;
    let blocked = bench.now().saturating_since(began);
    assert!(blocked >= bench.ttl.mul_f64(0.97), "blocked for {blocked:?} only");
    drop(won);
    let long = LeaseOptions::new(bench.ttl * 20).with_hold_at_least(bench.ttl / 8);
    let lease = held(&client, &name("long"), long).await;
    bench.pass(bench.ttl / 4).await;
    lease.release().await.expect("release answers");
    held(&rival, &name("long"), bench.ttl).await.abandon();
}

/// An orderly hand-over: the named successor gets it, and nobody comes in between.
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
            "somebody came in between"
        );
    }
    assert!(held(&next, &name("job"), bench.ttl).await.token() > token);
}

/// An abandoned lease runs out: not held, not renewed, not free.
pub async fn an_abandoned_lease_runs_out(bench: &Bench) {
    let recorded = RecordingStore::new(bench.store().await);
    let (client, rival) = (bench.client_of(recorded.clone()), bench.client().await);
    let lease = held(&client, &name("job"), bench.ttl).await;
    let handle = lease.handle();
    recorded.clear();
    lease.abandon();
    assert!(!handle.is_held());
    assert!(rival.try_acquire("job", bench.ttl).await.expect("answers").acquired().is_none(), "freed too early");
    bench.taken(&rival, &name("job"), bench.ttl + bench.patience()).await.abandon();
    assert_eq!((recorded.count(Operation::Renew), recorded.count(Operation::Release)), (0, 0));
}
