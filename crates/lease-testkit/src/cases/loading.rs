//! Many concurrent operations, and calls that hang (S24).

use std::{collections::HashSet, sync::Arc, time::Duration};

use lease_core::{LeaseOptions, LeaseStore, Released};
use tokio::task::JoinSet;

use crate::{
    Fault, Operation, Outcome, RecordingStore,
    bench::Bench,
    calls::{held, name},
};

/// A single operation is a call of one element. Under load many operations share a call.
pub async fn operations_under_load_share_their_calls(bench: &Bench) {
    const NAMES: usize = 200;
    let chaos = bench.chaos_store().await;
    let recorded = RecordingStore::new(Arc::new(chaos.clone()));
    let client = bench.client_of(recorded.clone());
    let ttl = bench.ttl * 30;
    held(&client, &name("alone"), ttl).await.release().await.expect("release answers");
    assert_eq!((recorded.count(Operation::Acquire), recorded.count(Operation::Release)), (1, 1));
    recorded.clear();
    for operation in [Operation::Acquire, Operation::Release] {
        chaos.inject(Fault::DelayAnswer(bench.ttl / 20).on(operation));
    }
    let mut acquires = JoinSet::new();
    for number in 0..NAMES {
        let client = client.clone();
        acquires.spawn(async move { client.try_acquire(format!("job/{number}"), ttl).await });
    }
    let leases = bench.expect_soon("all are acquired", acquires.join_all()).await;
    let mut releases = JoinSet::new();
    for lease in leases {
        let lease = lease.expect("answers").acquired().expect("free");
        releases.spawn(async move { lease.release().await });
    }
    let released = bench.expect_soon("all are released", releases.join_all()).await;
    assert!(released.into_iter().all(|released| released.is_ok_and(|released| released == Released::Freed)));
    for operation in [Operation::Acquire, Operation::Release] {
        let calls = recorded.count(operation);
        assert_eq!(recorded.elements(operation), NAMES, "{operation:?}");
        assert!(calls <= NAMES / 5, "{calls} calls of {operation:?} for {NAMES} names");
    }
    assert_eq!(recorded.outcomes(Operation::Acquire, |outcome| matches!(outcome, Outcome::Granted(_))), NAMES);
}

/// Each operation gives up a call that hangs at its own deadline. The number of such calls is bounded for each part of the
/// store.
pub async fn s24_hanging_calls_are_bounded_and_given_up(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    let recorded = RecordingStore::new(Arc::new(chaos.clone()));
    let client = bench.client_of(recorded.clone());
    held(&client, &name("warm-up"), bench.ttl).await.release().await.expect("release answers");
    bench.freeze().await;
    let mut attempts = JoinSet::new();
    let mut most = 0;
    for number in 0..40 {
        let (client, options) = (client.clone(), LeaseOptions::new(bench.ttl * 30));
        attempts.spawn(async move { client.try_acquire(format!("job/{number}"), options).await });
        // So long that each gets a call of its own.
        bench.sleep(Duration::from_millis(55)).await;
        most = most.max(recorded.in_flight());
    }
    // The longest attempt timeout.
    let end = bench.now() + Duration::from_secs(5) + bench.tolerance();
    while !attempts.is_empty() {
        assert!(bench.now() < end, "{} attempts are still in flight", attempts.len());
        if let Some(Some(outcome)) = bench.timeout(Duration::from_millis(5), attempts.join_next()).await {
            let outcome = outcome.expect("no panic");
            assert!(outcome.is_err_and(|error| error.is_transient()), "an answer of a store that hangs");
        }
    }
    let parts: HashSet<u16> = (0..40).map(|number| recorded.part_of(&name(&format!("job/{number}")))).collect();
    assert!(most <= 16 * parts.len(), "{most} calls were in flight at once in {} parts", parts.len());
    bench.thaw().await;
    // Earlier requests may still be granted, and hold their names until the ttl is over (S15). Other names are served.
    bench.acquire_within(&bench.client().await, &name("afterwards"), bench.ttl * 3 + bench.tolerance()).await.abandon();
}

/// An operation with little time left does not wait for another one that hangs.
pub async fn s24_a_healthy_name_is_not_held_up_by_a_hanging_one(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    let client = bench.client_of(chaos.clone());
    let mut hanging = Vec::new();
    for number in 0..2 {
        let job = name(&format!("hangs/{number}"));
        chaos.inject(Fault::DelayAnswer(Duration::MAX).on(Operation::Acquire).for_name(&job));
        let (client, options) = (client.clone(), LeaseOptions::new(bench.ttl * 30));
        hanging.push(tokio::spawn(async move { client.try_acquire(job, options).await }));
        bench.sleep(Duration::from_millis(5)).await;
    }
    for number in 0..10 {
        let began = bench.now();
        let lease = held(&client, &name(&format!("healthy/{number}")), bench.ttl).await;
        let took = bench.now().saturating_since(began);
        assert!(took < bench.ttl / 2 && hanging.iter().all(|it| !it.is_finished()), "delayed by {took:?}");
        lease.release().await.expect("release answers");
    }
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
}
