//! What is a loss, what is a warning, and what is told of it (S6, L6, L7, L9).

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures::future::join_all;
use lease_core::{Break, ErrorKind, Lease, LeaseEvent, LeaseOptions, LeaseState, LeaseStates, LossReason, Renewal};

use crate::{
    ChaosStore, Fault, Operation, RecordingStore,
    bench::Bench,
    calls::{held, name},
    seen::Seen,
};

fn by_hand(ttl: Duration) -> LeaseOptions {
    LeaseOptions::new(ttl).with_renewal(Renewal::Manual)
}

/// Failed renewals are no loss as long as the deadline has not come; a good one mends all.
pub async fn s06_transient_failures_are_no_loss(bench: &Bench) {
    let (chaos, seen) = (bench.chaos().await, Seen::default());
    let client = bench.builder_of(chaos.clone()).observer(seen.clone()).build();
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

/// Where the store tells holders by push, a break is a loss at once, and not only at the next renewal.
pub async fn s06_a_holder_is_told_by_push_where_the_store_does(bench: &Bench) {
    let (store, operator) = (bench.store().await, bench.client().await);
    let interval = if store.capabilities().push_to_holders { bench.ttl * 100 } else { bench.ttl / 3 };
    let options = LeaseOptions::new(interval * 3).with_renewal_interval(interval);
    let job = name("job");
    let mut hints = store.subscribe(&job);
    if store.capabilities().push {
        bench.soon("the push stands", hints.next()).await;
    }
    let client = bench.client_of(store);
    let neighbour = held(&client, &name("neighbour"), options.clone()).await;
    for how in [Break::Now, Break::AfterExpiry] {
        let lease = held(&client, &job, options.clone()).await;
        // By then the client listens.
        bench.pass(Duration::from_millis(1100)).await;
        operator.break_lease(&job, lease.token(), how).await.expect("break answers");
        let reason = bench.soon("the loss", lease.lost()).await;
        assert!(matches!(reason, LossReason::Broken | LossReason::Gone), "{reason:?}");
    }
    assert!(neighbour.is_held());
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
        LossReason::TakenOver { by, token, .. } => {
            assert!(by.is_none_or(|by| by == *rival.holder()) && token.is_none_or(|token| token == taken.token()));
        }
        reason => assert!(matches!(reason, LossReason::Broken | LossReason::Gone), "{reason:?}"),
    }
    drop(lease);
    bench.pass(bench.ttl / 2).await;
    assert!(taken.is_held(), "the old holder's release hit the new one");
}

async fn next_of(states: &mut LeaseStates, is_wanted: impl Fn(&LeaseState) -> bool) -> LeaseState {
    loop {
        let state = states.next().await.expect("the lease is there");
        if is_wanted(&state) {
            return state;
        }
    }
}

/// Held, then in jeopardy, then held again: a warning that comes with a failed renewal and goes with a good one.
pub async fn l09_jeopardy_comes_and_goes(bench: &Bench) {
    let (chaos, seen) = (bench.chaos().await, Seen::default());
    let client = bench.builder_of(chaos.clone()).observer(seen.clone()).build();
    let ttl = bench.ttl * 2;
    let lease = held(&client, &name("job"), ttl).await;
    let mut states = lease.states();
    for fault in [Fault::Fail(ErrorKind::Unavailable), Fault::DelayAnswer(Duration::MAX)] {
        chaos.inject(fault.on(Operation::Renew));
        let jeopardy = next_of(&mut states, |state| matches!(state, LeaseState::Jeopardy { .. }));
        let until = bench.within("jeopardy", ttl, jeopardy).await;
        assert!(lease.is_held(), "it is a warning, not a loss");
        assert!(
            matches!(until, LeaseState::Jeopardy { until, .. } if until > bench.now() && until <= bench.now() + ttl)
        );
        chaos.calm();
        bench.within("held again", ttl, next_of(&mut states, |state| *state == LeaseState::Held)).await;
    }
    assert!(lease.is_held() && seen.losses().is_empty());
    assert_eq!(seen.count(|event| matches!(event, LeaseEvent::Jeopardy { .. })), 2);
    let recovered = async || (seen.count(|event| matches!(event, LeaseEvent::Recovered { .. })) == 2).then_some(());
    bench.poll("observers are told", bench.patience(), recovered).await;
}

/// Every loss is reported once, with its reason.
pub async fn l06_a_loss_is_reported_once_with_its_reason(bench: &Bench) {
    let (seen, operator) = (Seen::default(), bench.client().await);
    let client = bench.builder().await.observer(seen.clone()).build();
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

/// Being wanted costs nothing: while a hundred clients try for it, all the time, no renewal of a lease fails (S6, L2).
pub async fn l07_a_lease_that_a_hundred_clients_try_for_is_renewed_as_one_that_nobody_wants(bench: &Bench) {
    const RENEWALS: usize = 4;
    let seen = Seen::default();
    let client = bench.builder().await.observer(seen.clone()).build();
    let ttl = bench.ttl * 3;
    let interval = bench.ttl / 2;
    let lease = held(&client, &name("job"), LeaseOptions::new(ttl).with_renewal_interval(interval)).await;
    // A few processes: on one machine a hundred would only show what their connections cost.
    let mut rivals = Vec::new();
    for store in [bench.store().await, bench.store().await, bench.store().await, bench.store().await] {
        rivals.extend((0..25).map(|_| bench.client_of(Arc::clone(&store))));
    }
    let wanted = join_all(rivals.iter().map(async |rival| -> Infallible {
        loop {
            match rival.try_acquire(lease.name(), ttl).await {
                Ok(tried) => assert!(tried.acquired().is_none(), "two holders"),
                // Only what the holder gets counts here.
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
            bench.pass(bench.ttl / 10).await;
        }
    }));
    let renewed = bench.poll("the renewals", interval * 8 + bench.patience(), async || {
        (seen.count(|event| matches!(event, LeaseEvent::Renewed { .. })) >= RENEWALS).then_some(())
    });
    tokio::select! {
        _ = wanted => {}
        () = renewed => {}
    }
    assert_eq!(seen.count(|event| matches!(event, LeaseEvent::RenewalFailed { .. })), 0);
    assert!(lease.is_held());
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
    let leases: Vec<_> =
        leases.into_iter().map(|lease| lease.expect("acquire answers").acquired().expect("free")).collect();
    store.clear();
    bench.pass(ttl).await;
    assert!(leases.iter().all(|lease| lease.is_held()));
    let (calls, elements) = (store.count(Operation::Renew), store.elements(Operation::Renew));
    assert!(elements >= LEASES * 2, "only {elements} renewals");
    assert!(calls * 10 <= elements, "{calls} calls for {elements} renewals");
    assert!(store.calls().iter().all(|call| call.names.len() <= 256));
}
