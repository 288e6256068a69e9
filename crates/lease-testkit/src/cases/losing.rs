//! Losses, warnings, and their reports (S6, L6, L7, L9).

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures::future::join_all;
use lease_core::{Break, ErrorKind, Lease, LeaseEvent, LeaseOptions, LeaseState, LeaseStates, LossReason, Renewal};

use crate::{
    ChaosStore, Fault, Operation, RecordingStore,
    bench::Bench,
    calls::{held, name},
    recorded_events::RecordedEvents,
};

fn by_hand(ttl: Duration) -> LeaseOptions {
    LeaseOptions::new(ttl).with_renewal(Renewal::Manual)
}

/// Failed renewals before the deadline are not a loss. The next successful one ends the jeopardy.
pub async fn s06_transient_failures_are_no_loss(bench: &Bench) {
    let (chaos, events) = (bench.chaos_store().await, RecordedEvents::default());
    let client = bench.builder_of(chaos.clone()).observer(events.clone()).build();
    let ttl = bench.ttl * 2;
    let lease = held(&client, &name("job"), ttl).await;
    for fault in [Fault::Fail(ErrorKind::Unavailable), Fault::LoseRequest, Fault::Fail(ErrorKind::Unavailable)] {
        chaos.inject(fault.on(Operation::Renew).once());
    }
    let first = lease.valid_until();
    bench.poll("a successful renewal", ttl * 2, async || (lease.valid_until() > first).then_some(())).await;
    assert!(lease.is_held());
    assert_eq!(events.count(|event| matches!(event, LeaseEvent::RenewalFailed { .. })), 3);
    assert_eq!(events.losses(), []);
}

/// A break is a loss at the next renewal, long before the deadline, and the reason is reported.
pub async fn s06_a_definite_no_is_a_loss_at_once(bench: &Bench) {
    let (client, operator) = (bench.client().await, bench.client().await);
    let ttl = bench.ttl * 20;
    let lease = held(&client, &name("job"), LeaseOptions::new(ttl).with_renewal_interval(bench.ttl / 3)).await;
    operator.break_lease(lease.name(), lease.token(), Break::Now).await.expect("break answers");
    let reason = bench.expect_within("the loss", bench.ttl / 3 + bench.tolerance(), lease.lost()).await;
    assert!(matches!(reason, LossReason::Broken | LossReason::Gone), "{reason:?}");
    assert!(!lease.is_held());
}

/// Where the store has push, a break is a loss at once and not only at the next renewal.
pub async fn s06_a_holder_is_notified_by_push_where_the_store_does(bench: &Bench) {
    let (store, operator) = (bench.store().await, bench.client().await);
    let interval = if store.capabilities().push_to_holders { bench.ttl * 100 } else { bench.ttl / 3 };
    let options = LeaseOptions::new(interval * 3).with_renewal_interval(interval);
    let job = name("job");
    let mut hints = store.subscribe(&job);
    if store.capabilities().push {
        bench.expect_soon("the subscription is established", hints.next()).await;
    }
    let client = bench.client_of(store);
    let neighbour = held(&client, &name("neighbour"), options.clone()).await;
    for how in [Break::Now, Break::AfterExpiry] {
        let lease = held(&client, &job, options.clone()).await;
        // By then the client has subscribed.
        bench.sleep(Duration::from_millis(1100)).await;
        operator.break_lease(&job, lease.token(), how).await.expect("break answers");
        let reason = bench.expect_soon("the loss", lease.lost()).await;
        assert!(matches!(reason, LossReason::Broken | LossReason::Gone), "{reason:?}");
    }
    assert!(neighbour.is_held());
}

/// A loss by take-over is reported with the new holder, where the store has it.
pub async fn l06_a_take_over_is_reported(bench: &Bench) {
    let (client, rival) = (bench.client().await, bench.client().await);
    let ttl = bench.ttl * 20;
    let lease = held(&client, &name("job"), LeaseOptions::new(ttl).with_renewal_interval(bench.ttl)).await;
    rival.break_lease(lease.name(), lease.token(), Break::Now).await.expect("break answers");
    let taken = held(&rival, lease.name(), bench.ttl).await;
    assert!(taken.token() > lease.token());
    match bench.expect_within("the loss", bench.ttl + bench.tolerance(), lease.lost()).await {
        LossReason::TakenOver { by, token, .. } => {
            assert!(by.is_none_or(|by| by == *rival.holder()) && token.is_none_or(|token| token == taken.token()));
        }
        reason => assert!(matches!(reason, LossReason::Broken | LossReason::Gone), "{reason:?}"),
    }
    drop(lease);
    bench.sleep(bench.ttl / 2).await;
    assert!(taken.is_held(), "the release of the former holder ended the new grant");
}

async fn next_of(states: &mut LeaseStates, is_wanted: impl Fn(&LeaseState) -> bool) -> LeaseState {
    loop {
        let state = states.next().await.expect("a state");
        if is_wanted(&state) {
            return state;
        }
    }
}

/// A failed renewal causes a jeopardy warning, and a successful one ends it.
pub async fn l09_jeopardy_comes_and_goes(bench: &Bench) {
    let (chaos, events) = (bench.chaos_store().await, RecordedEvents::default());
    let client = bench.builder_of(chaos.clone()).observer(events.clone()).build();
    let ttl = bench.ttl * 2;
    let lease = held(&client, &name("job"), ttl).await;
    let mut states = lease.states();
    for fault in [Fault::Fail(ErrorKind::Unavailable), Fault::DelayAnswer(Duration::MAX)] {
        chaos.inject(fault.on(Operation::Renew));
        let jeopardy = next_of(&mut states, |state| matches!(state, LeaseState::Jeopardy { .. }));
        let until = bench.expect_within("jeopardy", ttl, jeopardy).await;
        assert!(lease.is_held(), "the lease was lost by failed renewals");
        assert!(
            matches!(until, LeaseState::Jeopardy { until, .. } if until > bench.now() && until <= bench.now() + ttl)
        );
        chaos.clear_rules();
        bench.expect_within("held again", ttl, next_of(&mut states, |state| *state == LeaseState::Held)).await;
    }
    assert!(lease.is_held() && events.losses().is_empty());
    assert_eq!(events.count(|event| matches!(event, LeaseEvent::Jeopardy { .. })), 2);
    let recovered = async || (events.count(|event| matches!(event, LeaseEvent::Recovered { .. })) == 2).then_some(());
    bench.poll("the observer gets `Recovered`", bench.tolerance(), recovered).await;
}

/// Each loss is reported once, with its reason.
pub async fn l06_a_loss_is_reported_once_with_its_reason(bench: &Bench) {
    let (events, operator) = (RecordedEvents::default(), bench.client().await);
    let client = bench.builder().await.observer(events.clone()).build();
    let take = async |job: &str, options: LeaseOptions| -> Lease { held(&client, &name(job), options).await };
    // The losses of different leases are reported in any order, unless one is waited for.
    let reported = async |count: usize| {
        let all = async || (events.losses().len() >= count).then_some(());
        bench.poll("the report of a loss", bench.tolerance(), all).await;
    };

    let expired = take("expired", by_hand(bench.ttl)).await;
    bench.expect_within("the expiry", bench.ttl + bench.tolerance(), expired.lost()).await;
    assert_eq!(expired.lost().await, LossReason::Expired);
    reported(1).await;
    drop(expired);
    take("released", LeaseOptions::new(bench.ttl)).await.release().await.expect("release answers");
    drop(take("dropped", LeaseOptions::new(bench.ttl)).await);
    take("abandoned", LeaseOptions::new(bench.ttl)).await.abandon();
    reported(4).await;
    let broken = take("broken", LeaseOptions::new(bench.ttl)).await;
    operator.break_lease(broken.name(), broken.token(), Break::AfterExpiry).await.expect("break answers");
    bench.expect_within("the break", bench.ttl + bench.tolerance(), broken.lost()).await;
    broken.release().await.expect("release answers");
    bench.sleep(bench.ttl).await;

    let losses = events.losses();
    assert_eq!(losses.len(), 5, "{losses:?}");
    assert_eq!(losses[0], LossReason::Expired);
    assert_eq!(losses[1..4], [LossReason::Released, LossReason::Released, LossReason::Released]);
    assert!(matches!(losses[4], LossReason::Broken | LossReason::Gone), "{losses:?}");
}

/// An element that fails every call which it is in does not prevent the renewal of the others.
pub async fn l07_a_poisonous_item_cannot_expire_the_others(bench: &Bench) {
    a_bad_item_cannot_expire_the_others(bench, Fault::Fail(ErrorKind::Internal)).await;
}

/// An element that makes every call hang which it is in does not prevent the renewal of the others.
pub async fn l07_a_hanging_item_cannot_expire_the_others(bench: &Bench) {
    a_bad_item_cannot_expire_the_others(bench, Fault::DelayAnswer(Duration::MAX)).await;
}

/// The bad lease is lost at its deadline. The others are kept.
async fn a_bad_item_cannot_expire_the_others(bench: &Bench, fault: Fault) {
    let ttl = bench.ttl * 2;
    let chaos: ChaosStore = bench.chaos_store().await;
    let client = bench.client_of(chaos.clone());
    let bad = held(&client, &name("bad"), ttl).await;
    let mut good = Vec::new();
    for number in 0..24 {
        good.push(held(&client, &name(&format!("good/{number}")), ttl).await);
    }
    chaos.inject(fault.on(Operation::Renew).for_name(bad.name()));
    let began = bench.now();
    while bench.now().saturating_since(began) < ttl * 2 {
        bench.sleep(ttl / 8).await;
        let lost: Vec<_> = good.iter().filter(|lease| !lease.is_held()).map(|lease| lease.name()).collect();
        assert!(lost.is_empty(), "{fault:?} of one name caused the loss of {lost:?}");
    }
    assert_eq!(bad.state(), LeaseState::Lost(LossReason::Expired));
    chaos.clear_rules();
    for lease in good {
        lease.release().await.expect("release answers");
    }
    drop(bad);
    let limit = ttl * 2 + bench.tolerance();
    bench.acquire_within(&bench.client().await, &name("bad"), limit).await.release().await.expect("release answers");
}

/// While a hundred clients try for a lease all the time, none of its renewals fails (S6, L2).
pub async fn l07_a_lease_that_a_hundred_clients_try_for_is_renewed_as_one_that_nobody_wants(bench: &Bench) {
    const RENEWALS: usize = 4;
    let events = RecordedEvents::default();
    let client = bench.builder().await.observer(events.clone()).build();
    let ttl = bench.ttl * 3;
    let interval = bench.ttl / 2;
    let lease = held(&client, &name("job"), LeaseOptions::new(ttl).with_renewal_interval(interval)).await;
    // Only a few processes: on one machine a hundred would test the cost of their connections.
    let mut rivals = Vec::new();
    for store in [bench.store().await, bench.store().await, bench.store().await, bench.store().await] {
        rivals.extend((0..25).map(|_| bench.client_of(Arc::clone(&store))));
    }
    let wanted = join_all(rivals.iter().map(async |rival| -> Infallible {
        loop {
            match rival.try_acquire(lease.name(), ttl).await {
                Ok(tried) => assert!(tried.acquired().is_none(), "the lease was granted twice"),
                // Only the renewals of the holder count here.
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
            bench.sleep(bench.ttl / 10).await;
        }
    }));
    let renewed = bench.poll("the renewals", interval * 8 + bench.tolerance(), async || {
        (events.count(|event| matches!(event, LeaseEvent::Renewed { .. })) >= RENEWALS).then_some(())
    });
    tokio::select! {
        _ = wanted => {}
        () = renewed => {}
    }
    assert_eq!(events.count(|event| matches!(event, LeaseEvent::RenewalFailed { .. })), 0);
    assert!(lease.is_held());
}

/// Many leases of one client are renewed in few calls of a bounded size.
pub async fn l07_many_leases_share_few_renewals(bench: &Bench) {
    const LEASES: usize = 300;
    let store = RecordingStore::new(bench.store().await);
    let client = bench.client_of(store.clone());
    let ttl = bench.ttl * 3;
    let names: Vec<_> = (0..LEASES).map(|number| name(&format!("job/{number}"))).collect();
    let leases = names.iter().map(|job| client.try_acquire(job, ttl));
    let leases: Vec<_> = bench.expect_soon("all are acquired", join_all(leases)).await;
    let leases: Vec<_> =
        leases.into_iter().map(|lease| lease.expect("acquire answers").acquired().expect("free")).collect();
    store.clear();
    bench.sleep(ttl).await;
    assert!(leases.iter().all(|lease| lease.is_held()));
    let (calls, elements) = (store.count(Operation::Renew), store.elements(Operation::Renew));
    assert!(elements >= LEASES * 2, "only {elements} renewals");
    assert!(calls * 10 <= elements, "{calls} calls for {elements} renewals");
    assert!(store.calls().iter().all(|call| call.names.len() <= 256));
}
