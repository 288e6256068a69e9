//! The faults of the chaos store have the documented effect.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{sync::Arc, time::Duration};

use lease_core::{
    AcquireRequest, Acquired, Clock, ErrorKind, GrantId, HolderId, LeaseName, LeaseStore, Result, TokioClock,
};
use lease_memory::MemoryStore;
use lease_testkit::{ChaosStore, Fault, Hints, Operation, Outcome, Progress, RecordingStore};

const SECOND: Duration = Duration::from_secs(1);

struct Fixture {
    clock: TokioClock,
    /// Records the calls that reach the store.
    store: RecordingStore,
    chaos: ChaosStore,
}

fn fixture(seed: u64) -> Fixture {
    let clock = TokioClock::new();
    let store = RecordingStore::new(Arc::new(MemoryStore::with_clock(clock)));
    let chaos = ChaosStore::new(Arc::new(store.clone()), Arc::new(clock), seed);
    Fixture { clock, store, chaos }
}

fn name(name: &str) -> LeaseName {
    LeaseName::new(name).unwrap()
}

fn request(job: &str) -> AcquireRequest {
    AcquireRequest::new(name(job), HolderId::new("a").unwrap(), GrantId::random(), 60 * SECOND)
}

async fn acquire(store: &dyn LeaseStore, job: &str) -> Result<Acquired> {
    store.acquire(&[request(job)]).await.pop().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_lost_request_is_not_done_and_a_lost_answer_is() {
    let Fixture { store, chaos, .. } = fixture(0);
    chaos.inject(Fault::LoseRequest.on(Operation::Acquire).once());
    chaos.inject(Fault::LoseAnswer.on(Operation::Acquire).once());
    for (job, is_done) in [("a", false), ("b", true)] {
        assert_eq!(acquire(&chaos, job).await.unwrap_err().kind(), ErrorKind::Indeterminate);
        assert_eq!(chaos.inspect(&name(job)).await.unwrap().is_some(), is_done);
    }
    assert_eq!(store.count(Operation::Acquire), 1);
    assert!(acquire(&chaos, "a").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_delayed_answer_is_late_and_a_delayed_request_arrives_although_its_caller_has_gone() {
    let Fixture { clock, chaos, .. } = fixture(0);
    chaos.inject(Fault::DelayAnswer(5 * SECOND).on(Operation::Acquire).once());
    let sent = clock.now();
    assert!(acquire(&chaos, "a").await.is_ok());
    assert_eq!(clock.now().saturating_since(sent), 5 * SECOND);

    chaos.inject(Fault::DelayRequest(5 * SECOND).on(Operation::Acquire).once());
    tokio::select! {
        biased;
        answer = acquire(&chaos, "b") => panic!("unexpected answer: {answer:?}"),
        () = clock.sleep_until(clock.now() + SECOND) => {}
    }
    assert_eq!(chaos.inspect(&name("b")).await.unwrap(), None);
    clock.sleep_until(clock.now() + 5 * SECOND).await;
    assert!(chaos.inspect(&name("b")).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_is_delivered_again() {
    let Fixture { clock, store, chaos } = fixture(0);
    chaos.inject(Fault::Duplicate(5 * SECOND).on(Operation::Acquire));
    assert!(acquire(&chaos, "a").await.is_ok());
    assert_eq!(store.count(Operation::Acquire), 1);
    clock.sleep_until(clock.now() + 6 * SECOND).await;
    let outcomes: Vec<_> = store.calls().into_iter().map(|call| call.progress).collect();
    assert_eq!(outcomes.len(), 2);
    assert!(outcomes.iter().all(|progress| matches!(progress, Progress::Answered(of) if matches!(of[..], [Outcome::Granted(token)] if token.get() == 1))));
}

#[tokio::test(start_paused = true)]
async fn rules_fire_by_count_by_name_and_by_chance_and_can_be_taken_back() {
    let Fixture { chaos, .. } = fixture(0);
    chaos.inject(Fault::Fail(ErrorKind::Internal).on(Operation::Acquire).for_name(&name("poison")));
    chaos.inject(Fault::Fail(ErrorKind::Unavailable).on(Operation::Acquire).every(3));
    let mut failed = Vec::new();
    for job in ["a", "b", "poison", "c", "d", "poison"] {
        failed.push(acquire(&chaos, job).await.err().map(|error| error.kind()));
    }
    let expected =
        [None, None, Some(ErrorKind::Internal), Some(ErrorKind::Unavailable), None, Some(ErrorKind::Internal)];
    assert_eq!(failed, expected);
    let batch = chaos.acquire(&[request("e"), request("poison"), request("f")]).await;
    assert!(batch.len() == 3 && batch.iter().all(Result::is_err), "each element of a poisoned call fails: {batch:?}");
    chaos.clear_rules();
    assert!(acquire(&chaos, "poison").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_faults() {
    async fn failures(seed: u64) -> Vec<bool> {
        let Fixture { chaos, .. } = fixture(seed);
        chaos.inject(Fault::Fail(ErrorKind::Unavailable).on(Operation::Acquire).with_chance(0.5));
        let mut failures = Vec::new();
        for number in 0..64 {
            failures.push(acquire(&chaos, &format!("job-{number}")).await.is_err());
        }
        failures
    }
    assert_eq!(failures(1).await, failures(1).await);
    assert_ne!(failures(1).await, failures(2).await);
}

#[tokio::test(start_paused = true)]
async fn frozen_requests_are_kept_and_cut_ones_are_refused() {
    let Fixture { clock, store, chaos } = fixture(0);
    chaos.freeze();
    tokio::select! {
        biased;
        answer = acquire(&chaos, "a") => panic!("unexpected answer: {answer:?}"),
        () = clock.sleep_until(clock.now() + SECOND) => {}
    }
    assert_eq!(store.count(Operation::Acquire), 0);
    chaos.thaw();
    clock.sleep_until(clock.now() + SECOND).await;
    assert!(chaos.inspect(&name("a")).await.unwrap().is_some());
    chaos.cut();
    assert_eq!(acquire(&chaos, "b").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(chaos.list("", None, 1).await.is_err() && chaos.inspect(&name("a")).await.is_err());
    chaos.heal();
    assert!(acquire(&chaos, "b").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn hints_can_be_dropped_and_forged() {
    let Fixture { clock, chaos, .. } = fixture(0);
    let mut real = chaos.subscribe(&name("a"));
    real.next().await;
    chaos.set_hints(Hints::Dropped);
    let mut dropped = chaos.subscribe(&name("a"));
    chaos.set_hints(Hints::Forged);
    let mut forged = chaos.subscribe(&name("a"));
    chaos.forge_hint(&name("a"));
    forged.next().await;
    tokio::select! {
        biased;
        () = dropped.next() => panic!("a hint"),
        () = forged.next() => panic!("a hint"),
        () = clock.sleep_until(clock.now() + SECOND) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_recording_tells_an_answer_from_a_cut() {
    let clock = TokioClock::new();
    let Fixture { chaos, .. } = fixture(0);
    let recording = RecordingStore::new(Arc::new(chaos.clone()));
    chaos.inject(Fault::DelayAnswer(5 * SECOND).on(Operation::Acquire).once());
    let slow = tokio::spawn({
        let recording = recording.clone();
        async move { acquire(&recording, "a").await }
    });
    clock.sleep_until(clock.now() + SECOND).await;
    assert_eq!(recording.in_flight(), 1);
    slow.abort();
    clock.sleep_until(clock.now() + SECOND).await;
    acquire(&recording, "a").await.unwrap();
    recording.list("", None, 9).await.unwrap();
    let calls: Vec<_> = recording.calls().into_iter().map(|call| (call.operation, call.progress)).collect();
    let expected = [
        (Operation::Acquire, Progress::Cancelled),
        (Operation::Acquire, Progress::Answered(vec![Outcome::Held])),
        (Operation::List, Progress::Answered(vec![Outcome::Found(1)])),
    ];
    assert_eq!(calls, expected);
    assert_eq!((recording.elements(Operation::Acquire), recording.in_flight()), (2, 0));
}
