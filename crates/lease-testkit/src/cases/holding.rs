//! A lease that is held: its deadline, its renewal, its loss.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use lease_core::{
    Break, ErrorKind, Lease, LeaseClient, LeaseEvent, LeaseHandle, LeaseOptions, LeaseState, LeaseStore, LossReason,
    Metadata, Renewal,
};

use crate::{
    ChaosStore, Fault, Operation, RecordingStore, SkewedClock,
    bench::{Bench, Seen, held, inspected, name},
};

/// What can be relied on of a grant of this ttl at the most (S1), with the default drift and margin.
fn validity(ttl: Duration) -> Duration {
    ttl.mul_f64(0.99) - Duration::from_millis(50).max(ttl / 100).min(ttl / 4)
}

fn by_hand(ttl: Duration) -> LeaseOptions {
    LeaseOptions::new(ttl).with_renewal(Renewal::Manual)
}

/// The holder's deadline is never later than the store's own, by the margin at least.
async fn assert_within_the_stores_grant(bench: &Bench, store: &dyn LeaseStore, lease: &LeaseHandle, ttl: Duration) {
    let deadline = lease.valid_until();
    let Some(record) = inspected(store, lease.name()).await.filter(|record| record.token == lease.token()) else {
        assert!(!lease.is_held(), "held, and the store knows nothing of it");
        return;
    };
    let expiry = bench.now() + record.remaining;
    let margin = (ttl - validity(ttl)).mul_f64(0.5);
    assert!(
        !lease.is_held() || deadline + margin <= expiry,
        "the holder relies on it until {deadline:?}, the store says {expiry:?}"
    );
}

/// The deadline counts from when the request left, not from when the answer came. An answer that comes after it grants
/// nothing, and what was granted is given back.
pub async fn s01_a_late_answer_shortens_the_deadline(bench: &Bench) {
    let chaos = bench.chaos().await;
    let client = bench.client_of(chaos.clone());
    let ttl = bench.ttl * 3;
    for share in [0.0, 0.5, 0.9] {
        let delay = ttl.mul_f64(share);
        chaos.inject(Fault::DelayAnswer(delay).on(Operation::Acquire).once());
        let lease = held(&client, &name("job"), by_hand(ttl).with_attempt_timeout(ttl * 2)).await;
        let latest = bench.now() - delay + validity(bench.rounded(ttl, client.capabilities()));
        assert!(lease.valid_until() <= latest, "{share}: {:?}, at the latest {latest:?}", lease.valid_until());
        assert!(lease.is_held(), "{share}: the answer came in time");
        lease.release().await.expect("release answers");
    }
    let job = name("too-late");
    chaos.inject(Fault::DelayAnswer(ttl.mul_f64(1.1)).on(Operation::Acquire).once());
    let late = client.try_acquire(&job, by_hand(ttl).with_attempt_timeout(ttl * 2)).await;
    assert!(late.as_ref().is_err_and(lease_core::Error::is_transient), "{late:?}");
    bench.taken(&bench.client().await, &job, bench.ttl + bench.patience()).await.abandon();
}

/// A retry that meets its own earlier grant counts from what is left of that one.
pub async fn s01_a_retry_counts_from_what_is_left(bench: &Bench) {
    let (chaos, ttl) = (bench.chaos().await, bench.ttl * 6);
    let client = bench.client_of(chaos.clone());
    for delay in [Duration::ZERO, ttl / 8] {
        chaos.inject(Fault::DelayAnswer(delay).on(Operation::Acquire).once());
        chaos.inject(Fault::LoseAnswer.on(Operation::Acquire).once());
        let job = name(&format!("job/{}", delay.as_millis()));
        let lease = client.acquire(&job, by_hand(ttl)).await.expect("the retry meets the grant");
        assert_within_the_stores_grant(bench, &chaos, &lease, ttl).await;
        lease.release().await.expect("release answers");
        chaos.calm();
        chaos.inject(Fault::LoseAnswer.on(Operation::Acquire).once());
        let lease = client.acquire(&job, by_hand(ttl)).await.expect("the retry meets the grant");
        assert_within_the_stores_grant(bench, &chaos, &lease, ttl).await;
        lease.release().await.expect("release answers");
        chaos.calm();
    }
}

/// Clients whose clocks are a day apart, and run at different rates, exclude each other all the same.
pub async fn s03_clients_whose_clocks_differ_by_a_day_agree(bench: &Bench) {
    let day = Duration::from_secs(86_400);
    let client = |store: Arc<dyn LeaseStore>, rate, offset| {
        let clock = SkewedClock::new(Arc::clone(&bench.clock), rate, offset);
        LeaseClient::new(store).with_holder(bench.holder()).with_clock(clock)
    };
    let ahead = client(bench.store().await, 9_000, day * 2);
    let behind = client(bench.store().await, -9_000, Duration::ZERO);
    let job = name("job");
    for (one, two) in [(&ahead, &behind), (&behind, &ahead)] {
        let lease = held(one, &job, bench.ttl).await;
        let limit = LeaseOptions::new(bench.ttl).with_wait_limit(bench.ttl * 2);
        let outcome = two.acquire(&job, limit).await;
        assert!(lease.is_held(), "renewed by its own clock");
        assert!(outcome.is_err_and(|error| error.kind() == ErrorKind::WaitLimit), "two holders");
        lease.abandon();
        bench.taken(two, &job, bench.ttl * 2 + bench.patience()).await.release().await.expect("release answers");
    }
}

/// What a lease is asked, it knows by itself.
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

/// From the deadline on a lease is not held, for ever: an answer that comes later does not revive it.
pub async fn s04_a_deadline_that_has_passed_is_latched(bench: &Bench) {
    let chaos = bench.chaos().await;
    let clock = SkewedClock::new(Arc::clone(&bench.clock), 0, Duration::from_secs(5));
    let client = LeaseClient::new(chaos.clone()).with_clock(clock.clone());
    let ttl = bench.ttl * 4;
    let lease = held(&client, &name("job"), by_hand(ttl).with_attempt_timeout(ttl)).await;
    let answer_takes = bench.ttl / 2;
    chaos.inject(Fault::DelayAnswer(answer_takes).on(Operation::Renew));
    let handle = lease.handle();
    let renewal = tokio::spawn(async move { handle.renew().await });
    bench.pass(answer_takes / 2).await;
    clock.jump(ttl);
    assert!(!lease.is_held() && lease.remaining().is_zero(), "the first call after the deadline says so");
    let renewed = bench.soon("the renewal ends", renewal).await.expect("no panic");
    assert!(renewed.is_err_and(|error| error.kind() == ErrorKind::Lost));
    bench.pass(answer_takes).await;
    assert!(!lease.is_held(), "revived");
    assert_eq!(lease.state(), LeaseState::Lost(LossReason::Expired));
}

/// The store does not answer any more: the loss is signalled by the deadline, to everybody who waits for it.
pub async fn s05_loss_is_signalled_though_no_call_returns(bench: &Bench) {
    let chaos = bench.chaos().await;
    let client = bench.client_of(chaos.clone());
    let lease = held(&client, &name("job"), bench.ttl).await;
    let (waits, works) = (lease.handle(), lease.handle());
    let waits = tokio::spawn(async move { waits.lost().await });
    let works = tokio::spawn(async move { works.while_held(std::future::pending::<()>()).await });
    bench.freeze().await;
    let frozen = bench.now();
    let limit = bench.ttl + bench.patience();
    let mut deadline = lease.valid_until();
    bench
        .poll("the lease is lost", limit, async || {
            deadline = deadline.max(lease.valid_until());
            (!lease.is_held()).then_some(())
        })
        .await;
    assert!(deadline <= frozen + bench.ttl, "the deadline moved without an answer");
    assert_eq!(bench.soon("lost() ends", waits).await.expect("no panic"), LossReason::Expired);
    let lost = bench.soon("while_held() ends", works).await.expect("no panic");
    assert!(lost.is_err_and(|lost| lost.reason == LossReason::Expired && lost.token == lease.token()));
    assert!(bench.now() <= deadline + bench.patience());
    bench.thaw().await;
    drop(lease);
    bench.taken(&bench.client().await, &name("job"), bench.ttl * 3 + bench.patience()).await.abandon();
}

/// Cut off from the store: the same.
pub async fn s05_loss_is_signalled_when_the_store_is_cut_off(bench: &Bench) {
    let chaos = bench.chaos().await;
    let lease = held(&bench.client_of(chaos.clone()), &name("job"), bench.ttl).await;
    bench.cut().await;
    let reason = bench.within("the loss", bench.ttl + bench.patience(), lease.lost()).await;
    assert_eq!(reason, LossReason::Expired);
    bench.heal().await;
    bench.taken(&bench.client().await, &name("job"), bench.ttl * 3 + bench.patience()).await.abandon();
}

/// Work is not polled once more after the deadline, even if no timer could fire: the clock is asked before every poll.
pub async fn s05_work_stops_before_its_next_poll(bench: &Bench) {
    let clock = SkewedClock::new(Arc::clone(&bench.clock), 0, Duration::from_secs(5));
    let client = LeaseClient::new(bench.store().await).with_clock(clock.clone());
    let lease = held(&client, &name("job"), bench.ttl * 4).await;
    let went_on = AtomicBool::new(false);
    let work = async {
        clock.jump(bench.ttl * 4);
        tokio::task::yield_now().await;
        went_on.store(true, Ordering::SeqCst);
    };
    let lost = lease.while_held(work).await.expect_err("the deadline has passed");
    assert_eq!(lost.reason, LossReason::Expired);
    assert!(!went_on.load(Ordering::SeqCst), "it went on after the deadline");
}

/// Failed renewals are no loss as long as the deadline has not come; a good one mends all.
pub async fn s06_transient_failures_are_no_loss(bench: &Bench) {
    let (chaos, seen) = (bench.chaos().await, Seen::default());
    let client = bench.client_of(chaos.clone()).with_observer(seen.clone());
    let ttl = bench.ttl * 2;
    let lease = held(&client, &name("job"), ttl).await;
    for fault in [Fault::Fail(ErrorKind::Unavailable), Fault::LoseRequest, Fault::Fail(ErrorKind::Unavailable)] {
        chaos.inject(fault.on(Operation::Renew).once());
    }
    let first = lease.valid_until();
    bench.poll("a good renewal", ttl * 2, async || (lease.valid_until() > first).then_some(())).await;
    assert!(lease.is_held());
    assert_eq!(seen.count(|event| matches!(event, LeaseEvent::RenewalFailed { .. })), 3);
    assert_eq!(seen.losses(), []);
}

/// An administrator's break is a loss at the next renewal, long before the deadline; it is told why.
pub async fn s06_a_definite_no_is_a_loss_at_once(bench: &Bench) {
    let (client, operator) = (bench.client().await, bench.client().await);
    let ttl = bench.ttl * 20;
    let lease = held(&client, &name("job"), LeaseOptions::new(ttl).with_renewal_interval(bench.ttl / 3)).await;
    operator.break_lease(lease.name(), lease.token(), Break::Now).await.expect("break answers");
    let reason = bench.within("the loss", bench.ttl / 3 + bench.patience(), lease.lost()).await;
    assert!(matches!(reason, LossReason::Broken | LossReason::Gone), "{reason:?}");
    assert!(!lease.is_held());
}

/// Who lost its lease to somebody else is told so, and to whom, as far as the store knows.
pub async fn l06_a_take_over_is_told(bench: &Bench) {
    let (client, rival) = (bench.client().await, bench.client().await);
    let ttl = bench.ttl * 20;
    let lease = held(&client, &name("job"), LeaseOptions::new(ttl).with_renewal_interval(bench.ttl)).await;
    rival.break_lease(lease.name(), lease.token(), Break::Now).await.expect("break answers");
    let taken = held(&rival, lease.name(), bench.ttl).await;
    assert!(taken.token() > lease.token());
    match bench.within("the loss", bench.ttl + bench.patience(), lease.lost()).await {
        LossReason::TakenOver { by, token } => {
            assert!(by.is_none_or(|by| by == *rival.holder()) && token.is_none_or(|token| token == taken.token()));
        }
        reason => assert!(matches!(reason, LossReason::Broken | LossReason::Gone), "{reason:?}"),
    }
    drop(lease);
    bench.pass(bench.ttl / 2).await;
    assert!(taken.is_held(), "the old holder's release hit the new one");
}

/// Every second answer is lost: the lease lives on, and its deadline is never later than the store's.
pub async fn s08_a_lease_survives_lost_answers(bench: &Bench) {
    let chaos = bench.chaos().await;
    let ttl = bench.ttl * 2;
    let lease = held(&bench.client_of(chaos.clone()), &name("job"), ttl).await;
    chaos.inject(Fault::LoseAnswer.on(Operation::Renew).every(2));
    let store = bench.store().await;
    for _ in 0..20 {
        bench.pass(ttl / 8).await;
        assert!(lease.is_held());
        assert_within_the_stores_grant(bench, &*store, &lease, ttl).await;
    }
}

/// A renewal of which nobody knows the outcome moves no deadline.
pub async fn s08_an_unknown_renewal_keeps_the_old_deadline(bench: &Bench) {
    let chaos = bench.chaos().await;
    let lease = held(&bench.client_of(chaos.clone()), &name("job"), bench.ttl).await;
    chaos.inject(Fault::LoseAnswer.on(Operation::Renew));
    let deadline = lease.valid_until();
    bench
        .poll("the loss", bench.ttl + bench.patience(), async || {
            let is_held = lease.is_held();
            assert!(!is_held || lease.valid_until() <= deadline, "the deadline moved");
            (!is_held).then_some(())
        })
        .await;
    assert_eq!(lease.state(), LeaseState::Lost(LossReason::Expired));
}

/// After a renewal the deadline counts from when its request left.
pub async fn s08_a_late_renewal_answer_shortens_the_deadline(bench: &Bench) {
    let chaos = bench.chaos().await;
    let ttl = bench.ttl * 4;
    let options = by_hand(ttl).with_attempt_timeout(ttl);
    let lease = held(&bench.client_of(chaos.clone()), &name("job"), options).await;
    let delay = ttl / 4;
    chaos.inject(Fault::DelayAnswer(delay).on(Operation::Renew));
    lease.renew().await.expect("renewed");
    let latest = bench.now() - delay + validity(bench.rounded(ttl, &chaos.capabilities()));
    assert!(lease.valid_until() <= latest, "{:?}, at the latest {latest:?}", lease.valid_until());
    assert_within_the_stores_grant(bench, &chaos, &lease, ttl).await;
}

/// Held, then in jeopardy, then held again: a warning that comes with a failed renewal and goes with a good one.
pub async fn l09_jeopardy_comes_and_goes(bench: &Bench) {
    let (chaos, seen) = (bench.chaos().await, Seen::default());
    let client = bench.client_of(chaos.clone()).with_observer(seen.clone());
    let ttl = bench.ttl * 2;
    let lease = held(&client, &name("job"), ttl).await;
    let mut states = lease.states();
    for fault in [Fault::Fail(ErrorKind::Unavailable), Fault::DelayAnswer(Duration::MAX)] {
        chaos.inject(fault.on(Operation::Renew));
        let until = bench
            .within("jeopardy", ttl, states.wait_for(|state| matches!(state, LeaseState::Jeopardy { .. })))
            .await
            .expect("the lease is there")
            .clone();
        assert!(lease.is_held(), "it is a warning, not a loss");
        assert!(matches!(until, LeaseState::Jeopardy { until } if until > bench.now() && until <= bench.now() + ttl));
        chaos.calm();
        let held = states.wait_for(|state| *state == LeaseState::Held);
        bench.within("held again", ttl, held).await.expect("the lease is there");
    }
    assert!(lease.is_held() && seen.losses().is_empty());
    assert_eq!(seen.count(|event| matches!(event, LeaseEvent::Jeopardy { .. })), 2);
    let recovered = async || (seen.count(|event| matches!(event, LeaseEvent::Recovered { .. })) == 2).then_some(());
    bench.poll("observers are told", bench.patience(), recovered).await;
}

/// Every loss is reported once, with its reason.
pub async fn l06_a_loss_is_reported_once_with_its_reason(bench: &Bench) {
    let (seen, operator) = (Seen::default(), bench.client().await);
    let client = bench.client().await.with_observer(seen.clone());
    let take = async |job: &str, options: LeaseOptions| -> Lease { held(&client, &name(job), options).await };

    let expired = take("expired", by_hand(bench.ttl)).await;
    bench.within("the expiry", bench.ttl + bench.patience(), expired.lost()).await;
    assert_eq!(expired.lost().await, LossReason::Expired);
    drop(expired);
    take("released", LeaseOptions::new(bench.ttl)).await.release().await.expect("release answers");
    drop(take("dropped", LeaseOptions::new(bench.ttl)).await);
    take("abandoned", LeaseOptions::new(bench.ttl)).await.abandon();
    let broken = take("broken", LeaseOptions::new(bench.ttl)).await;
    operator.break_lease(broken.name(), broken.token(), Break::AfterExpiry).await.expect("break answers");
    bench.within("the break", bench.ttl + bench.patience(), broken.lost()).await;
    broken.release().await.expect("release answers");
    bench.pass(bench.ttl).await;

    let losses = seen.losses();
    assert_eq!(losses.len(), 5, "{losses:?}");
    assert_eq!(losses[0], LossReason::Expired);
    assert_eq!(losses[1..4], [LossReason::Released, LossReason::Released, LossReason::Released]);
    assert!(matches!(losses[4], LossReason::Broken | LossReason::Gone), "{losses:?}");
}

/// Time spent suspended is time spent: a clock that jumps over the deadline ends the lease, and no timer is needed.
pub async fn s18_time_spent_suspended_is_time_spent(bench: &Bench) {
    let clock = SkewedClock::new(Arc::clone(&bench.clock), 0, Duration::from_secs(5));
    let client = LeaseClient::new(bench.store().await).with_clock(clock.clone());
    let lease = held(&client, &name("job"), bench.ttl * 10).await;
    let handle = lease.handle();
    let waits = tokio::spawn(async move { handle.lost().await });
    bench.pass(bench.ttl / 4).await;
    assert!(lease.is_held());
    clock.jump(bench.ttl * 10);
    assert!(!lease.is_held());
    // A sleeping timer looks at the clock once a second.
    let limit = Duration::from_secs(1) + bench.patience();
    assert_eq!(bench.within("lost() ends", limit, waits).await.expect("no panic"), LossReason::Expired);
    bench.pass(bench.ttl / 2).await;
    assert!(!lease.is_held(), "revived");
}

/// A stuck holder is not renewed for ever.
pub async fn max_tenure_ends_a_lease(bench: &Bench) {
    let client = bench.client().await;
    let began = bench.now();
    let lease = held(&client, &name("job"), LeaseOptions::new(bench.ttl).with_max_tenure(bench.ttl * 2)).await;
    let reason = bench.within("the end of the tenure", bench.ttl * 2 + bench.patience(), lease.lost()).await;
    assert_eq!(reason, LossReason::TenureEnded);
    let lasted = bench.now().saturating_since(began);
    assert!(lasted >= bench.ttl.mul_f64(1.5), "it was renewed for {lasted:?} only");
    drop(lease);
    bench.taken(&bench.client().await, &name("job"), bench.ttl * 2 + bench.patience()).await.abandon();
}

/// Renewed by hand a lease lives as long as somebody does so, and no longer.
pub async fn a_lease_renewed_by_hand_lives_as_long_as_that(bench: &Bench) {
    let store = RecordingStore::new(bench.store().await);
    let ttl = bench.ttl * 2;
    let lease = held(&bench.client_of(store.clone()), &name("job"), by_hand(ttl)).await;
    for _ in 0..5 {
        bench.pass(ttl / 3).await;
        lease.renew().await.expect("renewed");
    }
    assert_eq!(store.count(Operation::Renew), 5);
    bench.within("the expiry", ttl + bench.patience(), lease.lost()).await;
    assert_eq!(store.count(Operation::Renew), 5);
    assert!(lease.renew().await.is_err_and(|error| error.kind() == ErrorKind::Lost));
}

/// Changed metadata can be read by others; a change that met trouble goes along with the next renewal.
pub async fn metadata_can_be_changed(bench: &Bench) {
    let (chaos, other) = (bench.chaos().await, bench.client().await);
    let client = bench.client_of(chaos.clone());
    let metadata = |value: &str| Metadata::new([("is", value)]).expect("valid metadata");
    let ttl = bench.ttl * 2;
    let lease = held(&client, &name("job"), LeaseOptions::new(ttl).with_metadata(metadata("first"))).await;
    let read = async || other.inspect("job").await.expect("inspect answers").expect("held").metadata;
    assert_eq!(read().await, metadata("first"));
    lease.set_metadata(metadata("second")).await.expect("changed");
    assert_eq!(read().await, metadata("second"));
    chaos.inject(Fault::LoseRequest.on(Operation::Renew).once());
    assert!(lease.set_metadata(metadata("third")).await.is_err_and(|error| error.is_transient()));
    bench.poll("the change goes with a renewal", ttl, async || (read().await == metadata("third")).then_some(())).await;
    assert!(lease.is_held());
}

/// One item of many that spoils every call it is in: the others are renewed all the same.
pub async fn l07_a_poisonous_item_cannot_expire_the_others(bench: &Bench) {
    a_bad_item_cannot_expire_the_others(bench, Fault::Fail(ErrorKind::Internal)).await;
}

/// One item of many for which every call hangs that it is in: the others are renewed all the same.
pub async fn l07_a_hanging_item_cannot_expire_the_others(bench: &Bench) {
    a_bad_item_cannot_expire_the_others(bench, Fault::DelayAnswer(Duration::MAX)).await;
}

/// It loses its own lease by its deadline, and costs nobody else's.
async fn a_bad_item_cannot_expire_the_others(bench: &Bench, fault: Fault) {
    let ttl = bench.ttl * 2;
    let chaos: ChaosStore = bench.chaos().await;
    let client = bench.client_of(chaos.clone());
    let bad = held(&client, &name("bad"), ttl).await;
    let mut good = Vec::new();
    for number in 0..24 {
        good.push(held(&client, &name(&format!("good/{number}")), ttl).await);
    }
    chaos.inject(fault.on(Operation::Renew).for_name(bad.name()));
    let began = bench.now();
    while bench.now().saturating_since(began) < ttl * 2 {
        bench.pass(ttl / 8).await;
        let lost: Vec<_> = good.iter().filter(|lease| !lease.is_held()).map(|lease| lease.name()).collect();
        assert!(lost.is_empty(), "{fault:?} of one name has cost {lost:?}");
    }
    assert_eq!(bad.state(), LeaseState::Lost(LossReason::Expired));
    chaos.calm();
    for lease in good {
        lease.release().await.expect("release answers");
    }
    drop(bad);
    let limit = ttl * 2 + bench.patience();
    bench.taken(&bench.client().await, &name("bad"), limit).await.release().await.expect("release answers");
}

/// Many leases of one client share their renewals: a few calls an interval, of a bounded size.
pub async fn l07_many_leases_share_few_renewals(bench: &Bench) {
    const LEASES: usize = 300;
    let store = RecordingStore::new(bench.store().await);
    let client = bench.client_of(store.clone());
    let ttl = bench.ttl * 3;
    let names: Vec<_> = (0..LEASES).map(|number| name(&format!("job/{number}"))).collect();
    let leases = names.iter().map(|job| client.try_acquire(job, ttl));
    let leases: Vec<_> = bench.soon("all are acquired", join_all(leases)).await;
    let leases: Vec<_> = leases.into_iter().map(|lease| lease.expect("acquire answers").expect("free")).collect();
    store.clear();
    bench.pass(ttl).await;
    assert!(leases.iter().all(|lease| lease.is_held()));
    let (calls, elements) = (store.count(Operation::Renew), store.elements(Operation::Renew));
    assert!(elements >= LEASES * 2, "only {elements} renewals");
    assert!(calls * 10 <= elements, "{calls} calls for {elements} renewals");
    assert!(store.calls().iter().all(|call| call.names.len() <= 256));
}
