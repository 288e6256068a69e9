//! An observer, a store, a health check and work that panic at every opportunity. The test is alone in its binary, because it
//! counts all panics.

use std::{
    panic::panic_any,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use lease_core::{HolderId, LeaseClient, LeaseEvent, Observer};
use lease_election::{CandidateOptions, Election, ElectionOptions};
use lease_testkit::{ChaosStore, Fault, LogCapture, Operation};
use tracing::Level;

use crate::support::{Group, Renewals, SECOND};

#[derive(Debug)]
struct Panics;

impl Observer for Panics {
    fn observe(&self, _: &LeaseEvent) {
        panic_any("the observer");
    }
}

#[tokio::test(start_paused = true)]
async fn every_panic_is_reported_once_and_harms_nothing_else() {
    let thrown = Arc::new(AtomicUsize::new(0));
    let (counted, others) = (Arc::clone(&thrown), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        let expected = ["injected by the test", "the observer", "the health check", "the work"];
        match panic.payload().downcast_ref::<&str>() {
            Some(words) if expected.contains(words) => {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            _ => others(panic),
        }
    }));
    let logged = LogCapture::new(Level::ERROR);
    let _guard = tracing::subscriber::set_default(logged.clone());

    let group = Group::new();
    let chaos = ChaosStore::new(Arc::new(group.store()), Arc::new(group.clock), 7);
    let renewals = Renewals::default();
    let client = LeaseClient::builder(chaos.clone())
        .holder(HolderId::new("a").unwrap())
        .clock(group.clock)
        .observer(Panics)
        .observer(renewals.clone())
        .build();
    let healthy = client.try_acquire("healthy", SECOND * 15).await.unwrap().acquired().unwrap();
    for operation in [Operation::Acquire, Operation::Renew, Operation::Release, Operation::Inspect, Operation::List] {
        chaos.inject(Fault::Panic.on(operation).every(2));
    }
    let election = Election::new(client.clone(), "group", ElectionOptions::default()).unwrap();
    let candidate = election.candidate(CandidateOptions::new()).unwrap();
    let (mut worked, mut returned) = (0, 0);
    for _ in 0..20 {
        let checks = AtomicUsize::new(0);
        let check = move || {
            let number = checks.fetch_add(1, Ordering::SeqCst);
            async move { if number < 2 { true } else { panic_any("the health check") } }
        };
        candidate.watch_health(SECOND * 10, check).unwrap();
        let leader = candidate.clone();
        let leading = tokio::spawn(async move { leader.lead(async |_| panic_any("the work")).await });
        group.pass(SECOND * 30).await;
        worked += usize::from(leading.is_finished());
        leading.abort();
        returned += usize::from(leading.await.is_err_and(|error| error.is_panic()));
        let _ = client.inspect("healthy").await;
        assert!(healthy.is_held());
    }
    chaos.clear_rules();
    healthy.release().await.unwrap();
    client.close().await.unwrap();

    let (thrown, logged) = (thrown.load(Ordering::SeqCst), logged.lines().len());
    assert_eq!(
        thrown,
        logged + returned,
        "{thrown} panics, {logged} lines in the log, {returned} returned to a caller"
    );
    assert!(worked >= 10 && returned == worked && renewals.count() > 50, "{worked} {returned} {}", renewals.count());
}
