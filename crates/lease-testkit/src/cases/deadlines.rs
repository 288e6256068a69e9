//! The deadline of a lease (S1, S3, S4, S5, S8, S18).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lease_core::{ErrorKind, LeaseClient, LeaseHandle, LeaseOptions, LeaseState, LeaseStore, LossReason, Renewal};

use crate::{
    ChaosStore, Fault, Operation, RecordingStore, SkewedClock,
    bench::Bench,
    calls::{held, inspected, name},
};

/// Returns the longest time for which a grant of this ttl may be relied on (S1), with the default drift and margin.
fn validity(ttl: Duration) -> Duration {
    ttl.mul_f64(0.99) - Duration::from_millis(50).max(ttl / 100).min(ttl / 4)
}

fn by_hand(ttl: Duration) -> LeaseOptions {
    LeaseOptions::new(ttl).with_renewal(Renewal::Manual)
}

/// Asserts that the deadline of the holder comes before that of the store, by the margin at least.
async fn assert_within_the_stores_grant(bench: &Bench, store: &dyn LeaseStore, lease: &LeaseHandle, ttl: Duration) {
    let deadline = lease.valid_until();
    let Some(record) = inspected(store, lease.name()).await.filter(|record| record.token == lease.token()) else {
        assert!(!lease.is_held(), "the holder relies on a lease that the store does not have");
        return;
    };
    let expiry = bench.now() + record.remaining;
    let margin = (ttl - validity(ttl)).mul_f64(0.5);
    assert!(
        !lease.is_held() || deadline + margin <= expiry,
        "the holder relies on it until {deadline:?}, the store keeps it until {expiry:?}"
    );
}

/// The deadline counts from when the request was sent, not from when the answer came. An answer that comes after the
/// deadline grants nothing, and the grant is released.
pub async fn s01_a_late_answer_shortens_the_deadline(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    let client = bench.client_of(chaos.clone());
    let ttl = bench.ttl * 3;
    for share in [0.0, 0.5, 0.9] {
        let delay = ttl.mul_f64(share);
        chaos.inject(Fault::DelayAnswer(delay).on(Operation::Acquire).once());
        let lease = held(&client, &name("job"), by_hand(ttl).with_attempt_timeout(ttl * 2)).await;
        let latest = bench.now() - delay + validity(bench.rounded(ttl, client.capabilities()));
        assert!(
            lease.valid_until() <= latest,
            "{share}: valid until {:?}, at the latest {latest:?} is allowed",
            lease.valid_until()
        );
        assert!(lease.is_held(), "{share}: not held although the answer came in time");
        lease.release().await.expect("release answers");
    }
    let job = name("too-late");
    chaos.inject(Fault::DelayAnswer(ttl.mul_f64(1.1)).on(Operation::Acquire).once());
    let late = client.try_acquire(&job, by_hand(ttl).with_attempt_timeout(ttl * 2)).await;
    assert!(late.as_ref().is_err_and(lease_core::Error::is_transient), "{late:?}");
    bench.acquire_within(&bench.client().await, &job, bench.ttl + bench.tolerance()).await.abandon();
}

/// A retry that finds its own earlier grant counts from what is left of it.
pub async fn s01_a_retry_counts_from_what_is_left(bench: &Bench) {
    let (chaos, ttl) = (bench.chaos_store().await, bench.ttl * 6);
    let client = bench.client_of(chaos.clone());
    for delay in [Duration::ZERO, ttl / 8] {
        chaos.inject(Fault::DelayAnswer(delay).on(Operation::Acquire).once());
        chaos.inject(Fault::LoseAnswer.on(Operation::Acquire).once());
        let job = name(&format!("job/{}", delay.as_millis()));
        let lease = client.acquire(&job, by_hand(ttl)).await.expect("the retry finds its own grant");
        assert_within_the_stores_grant(bench, &chaos, &lease, ttl).await;
        lease.release().await.expect("release answers");
        chaos.clear_rules();
        chaos.inject(Fault::LoseAnswer.on(Operation::Acquire).once());
        let lease = client.acquire(&job, by_hand(ttl)).await.expect("the retry finds its own grant");
        assert_within_the_stores_grant(bench, &chaos, &lease, ttl).await;
        lease.release().await.expect("release answers");
        chaos.clear_rules();
    }
}

/// Clients whose clocks are a day apart and run at different rates exclude each other.
pub async fn s03_clients_whose_clocks_differ_by_a_day_agree(bench: &Bench) {
    let day = Duration::from_secs(86_400);
    let client = |store: Arc<dyn LeaseStore>, rate, offset| {
        let clock = SkewedClock::new(Arc::clone(&bench.clock), rate, offset);
        LeaseClient::builder(store).holder(bench.holder()).clock(clock).build()
    };
    let ahead = client(bench.store().await, 9_000, day * 2);
    let behind = client(bench.store().await, -9_000, Duration::ZERO);
    let job = name("job");
    for (one, two) in [(&ahead, &behind), (&behind, &ahead)] {
        let lease = held(one, &job, bench.ttl).await;
        let limit = LeaseOptions::new(bench.ttl).with_wait_limit(bench.ttl * 2);
        let outcome = two.acquire(&job, limit).await;
        assert!(lease.is_held(), "the renewed lease was lost");
        assert!(
            outcome.is_err_and(|error| error.kind() == ErrorKind::WaitLimit),
            "acquired while another holder has it"
        );
        lease.abandon();
        bench
            .acquire_within(two, &job, bench.ttl * 2 + bench.tolerance())
            .await
            .release()
            .await
            .expect("release answers");
    }
}

/// The methods of a lease do not call the store.
pub async fn s04_asking_a_lease_asks_no_store(bench: &Bench) {
    let store = RecordingStore::new(bench.store().await);
    let client = bench.client_of(store.clone());
    let lease = held(&client, &name("job"), by_hand(bench.ttl * 30)).await;
    store.clear();
    for _ in 0..1000 {
        assert!(lease.is_held() && lease.remaining() > Duration::ZERO && lease.state() == LeaseState::Held);
    }
    assert_eq!(store.calls(), []);
}

/// From the deadline on a lease is not held, for ever. A later answer does not revive it, even if it is the first to observe
/// that the deadline has passed.
pub async fn s04_a_deadline_that_has_passed_is_latched(bench: &Bench) {
    for is_asked in [true, false] {
        let chaos = bench.chaos_store().await;
        late_answer_revives_nothing(bench, chaos, is_asked).await;
    }
}

async fn late_answer_revives_nothing(bench: &Bench, chaos: ChaosStore, is_asked: bool) {
    let clock = SkewedClock::new(Arc::clone(&bench.clock), 0, Duration::from_secs(5));
    let client = LeaseClient::builder(chaos.clone()).clock(clock.clone()).build();
    let ttl = bench.ttl * 4;
    let job = name(if is_asked { "asked" } else { "unasked" });
    let lease = held(&client, &job, by_hand(ttl).with_attempt_timeout(ttl)).await;
    // A sleeping timer observes a jump within a second, so the answer comes before the client gives up.
    let answer_takes = Duration::from_millis(300);
    chaos.inject(Fault::DelayAnswer(answer_takes).on(Operation::Renew));
    // The renewal would set a deadline that has not passed yet.
    bench.sleep(ttl / 2).await;
    let handle = lease.handle();
    let renewal = tokio::spawn(async move { handle.renew().await });
    bench.sleep(answer_takes / 3).await;
    clock.jump(ttl * 5 / 8);
    if is_asked {
        assert!(!lease.is_held() && lease.remaining().is_zero(), "held after the deadline");
    }
    let renewed = bench.expect_soon("the renewal ends", renewal).await.expect("no panic");
    assert!(renewed.is_err_and(|error| error.kind() == ErrorKind::Lost));
    bench.sleep(answer_takes).await;
    assert!(!lease.is_held(), "revived");
    assert_eq!(lease.state(), LeaseState::Lost(LossReason::Expired));
}

/// When the store stops answering, the loss is signalled at the deadline to all tasks that wait for it.
pub async fn s05_loss_is_signalled_though_no_call_returns(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    let client = bench.client_of(chaos.clone());
    let lease = held(&client, &name("job"), bench.ttl).await;
    let (waits, works) = (lease.handle(), lease.handle());
    let waits = tokio::spawn(async move { waits.lost().await });
    let works = tokio::spawn(async move { works.while_held(std::future::pending::<()>()).await });
    bench.freeze().await;
    let frozen = bench.now();
    let limit = bench.ttl + bench.tolerance();
    // `is_held` would observe the deadline itself. This tests the signal.
    assert_eq!(bench.expect_within("`lost` ends", limit, waits).await.expect("no panic"), LossReason::Expired);
    let told_after = bench.now().saturating_since(frozen);
    assert!(
        told_after <= validity(bench.rounded(bench.ttl, &chaos.capabilities())) + bench.tolerance(),
        "{told_after:?}"
    );
    let lost = bench.expect_soon("while_held() ends", works).await.expect("no panic");
    assert!(lost.is_err_and(|lost| lost.reason == LossReason::Expired && lost.token == lease.token()));
    assert!(!lease.is_held());
    bench.thaw().await;
    drop(lease);
    bench.acquire_within(&bench.client().await, &name("job"), bench.ttl * 3 + bench.tolerance()).await.abandon();
}

/// When the store is cut off, the loss is signalled at the deadline.
pub async fn s05_loss_is_signalled_when_the_store_is_cut_off(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    let lease = held(&bench.client_of(chaos.clone()), &name("job"), bench.ttl).await;
    bench.cut().await;
    let reason = bench.expect_within("the loss", bench.ttl + bench.tolerance(), lease.lost()).await;
    assert_eq!(reason, LossReason::Expired);
    bench.heal().await;
    bench.acquire_within(&bench.client().await, &name("job"), bench.ttl * 3 + bench.tolerance()).await.abandon();
}

/// Work is not polled after the deadline, even if no timer fires: the clock is read before each poll.
pub async fn s05_work_stops_before_its_next_poll(bench: &Bench) {
    let clock = SkewedClock::new(Arc::clone(&bench.clock), 0, Duration::from_secs(5));
    let client = LeaseClient::builder(bench.store().await).clock(clock.clone()).build();
    let lease = held(&client, &name("job"), bench.ttl * 4).await;
    // By now all timers sleep, and none can observe the jump.
    bench.sleep(bench.ttl / 8).await;
    let went_on = AtomicBool::new(false);
    let work = async {
        clock.jump(bench.ttl * 4);
        tokio::task::yield_now().await;
        went_on.store(true, Ordering::SeqCst);
    };
    let lost = lease.while_held(work).await.expect_err("the deadline has passed");
    assert_eq!(lost.reason, LossReason::Expired);
    assert!(!went_on.load(Ordering::SeqCst), "the work was polled after the deadline");
}

/// With every second answer lost, the lease is kept, and its deadline is never later than that of the store.
pub async fn s08_a_lease_survives_lost_answers(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    let ttl = bench.ttl * 2;
    let lease = held(&bench.client_of(chaos.clone()), &name("job"), ttl).await;
    chaos.inject(Fault::LoseAnswer.on(Operation::Renew).every(2));
    let store = bench.store().await;
    for _ in 0..20 {
        bench.sleep(ttl / 8).await;
        assert!(lease.is_held());
        assert_within_the_stores_grant(bench, &*store, &lease, ttl).await;
    }
}

/// A renewal with an unknown outcome does not move the deadline.
pub async fn s08_an_unknown_renewal_keeps_the_old_deadline(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    let lease = held(&bench.client_of(chaos.clone()), &name("job"), bench.ttl).await;
    chaos.inject(Fault::LoseAnswer.on(Operation::Renew));
    let deadline = lease.valid_until();
    bench
        .poll("the loss", bench.ttl + bench.tolerance(), async || {
            let is_held = lease.is_held();
            assert!(!is_held || lease.valid_until() <= deadline, "the deadline moved");
            (!is_held).then_some(())
        })
        .await;
    assert_eq!(lease.state(), LeaseState::Lost(LossReason::Expired));
}

/// After a renewal the deadline counts from when its request was sent.
pub async fn s08_a_late_renewal_answer_shortens_the_deadline(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    let ttl = bench.ttl * 4;
    let options = by_hand(ttl).with_attempt_timeout(ttl);
    let lease = held(&bench.client_of(chaos.clone()), &name("job"), options).await;
    let delay = ttl / 4;
    chaos.inject(Fault::DelayAnswer(delay).on(Operation::Renew));
    lease.renew().await.expect("renewed");
    let latest = bench.now() - delay + validity(bench.rounded(ttl, &chaos.capabilities()));
    assert!(
        lease.valid_until() <= latest,
        "valid until {:?}, at the latest {latest:?} is allowed",
        lease.valid_until()
    );
    assert_within_the_stores_grant(bench, &chaos, &lease, ttl).await;
}

/// Time in which the machine is suspended counts: a clock that jumps over the deadline ends the lease without a timer.
pub async fn s18_time_spent_suspended_is_time_spent(bench: &Bench) {
    let clock = SkewedClock::new(Arc::clone(&bench.clock), 0, Duration::from_secs(5));
    let client = LeaseClient::builder(bench.store().await).clock(clock.clone()).build();
    let lease = held(&client, &name("job"), bench.ttl * 10).await;
    let handle = lease.handle();
    let waits = tokio::spawn(async move { handle.lost().await });
    bench.sleep(bench.ttl / 4).await;
    assert!(lease.is_held());
    clock.jump(bench.ttl * 10);
    assert!(!lease.is_held());
    // A sleeping timer reads the clock once a second.
    let limit = Duration::from_secs(1) + bench.tolerance();
    assert_eq!(bench.expect_within("`lost` ends", limit, waits).await.expect("no panic"), LossReason::Expired);
    bench.sleep(bench.ttl / 2).await;
    assert!(!lease.is_held(), "revived");
}
