//! What candidates report to the observers of their clients.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use lease_core::{Break, ElectionChange, HolderId, LeaseClient, LeaseEvent, Observer, SystemClock, WaitOutcome};
use lease_election::{Candidate, CandidateOptions, Election, ElectionOptions};
use lease_memory::MemoryStore;
use lease_testkit::ChaosStore;

use crate::support::{Group, SECOND};

/// Records what is reported of an election, and the waits for and releases of its leadership, one line each. Clones share their lines.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// Returns the lines so far without waits and releases.
    fn take_terms(&self) -> Vec<String> {
        let is_term = |line: &String| !line.contains("wait") && !line.contains("answered");
        self.take().into_iter().filter(is_term).collect()
    }
}

impl Observer for Lines {
    fn observe(&self, event: &LeaseEvent) {
        let line = match event {
            LeaseEvent::Election { name, holder, change, .. } => {
                assert_eq!(name.as_str(), "elections/group/leader");
                match change {
                    ElectionChange::Leads => format!("{holder} leads"),
                    ElectionChange::Draining => format!("{holder} drains"),
                    ElectionChange::Ended { reason, led_for } => {
                        format!("{holder} ended after {} s: {reason}", led_for.as_secs())
                    }
                    other => panic!("{other:?}"),
                }
            }
            LeaseEvent::WaitStarted { name, holder, .. } if name.as_str().ends_with("/leader") => {
                format!("{holder} waits")
            }
            LeaseEvent::WaitEnded { name, holder, outcome, .. } if name.as_str().ends_with("/leader") => {
                format!("{holder} stops waiting: {outcome:?}")
            }
            LeaseEvent::Released { name, holder, outcome, .. } if name.as_str().ends_with("/leader") => {
                format!("{holder} is answered: {outcome:?}")
            }
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

struct Member {
    client: LeaseClient,
    candidate: Candidate,
    chaos: ChaosStore,
}

/// Adds a candidate whose client has this observer, and gives it the time to win.
async fn join(group: &Group, id: &str, lines: &Lines) -> Member {
    let chaos = ChaosStore::new(Arc::new(group.store()), Arc::new(group.clock), 0);
    let client = LeaseClient::builder(chaos.clone())
        .holder(HolderId::new(id).unwrap())
        .clock(group.clock)
        .observer(lines.clone())
        .build();
    let election = Election::new(client.clone(), "group", ElectionOptions::default()).unwrap();
    let candidate = election.candidate(CandidateOptions::new()).unwrap();
    group.pass(Duration::from_millis(100)).await;
    Member { client, candidate, chaos }
}

/// The lines of one candidate.
fn of<'a>(lines: &'a [String], id: &str) -> Vec<&'a str> {
    lines.iter().map(String::as_str).filter(|line| line.starts_with(id)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_step_down_is_reported_before_the_next_candidate_leads() {
    let (group, lines) = (Group::new(), Lines::default());
    let first = join(&group, "first", &lines).await;
    let second = join(&group, "second", &lines).await;
    assert_eq!(lines.take(), ["first leads", "second waits"]);
    group.pass(SECOND * 20).await;
    assert!(lines.take().is_empty(), "renewals are no news");

    first.candidate.step_down(SECOND * 60).await.unwrap();
    group.until(|| second.candidate.is_leader()).await;
    let got = lines.take();
    assert_eq!(
        got[..2],
        ["first drains", "first ended after 20 s: it was released"],
        "the end is reported before the release is sent"
    );
    // The answer to the release and what it lets another client do have no order.
    assert_eq!(of(&got[2..], "first"), ["first is answered: Ok(Freed)"]);
    assert_eq!(of(&got[2..], "second"), ["second stops waiting: Won", "second leads"]);

    second.candidate.hand_over_to(HolderId::new("first").unwrap()).await.unwrap();
    second.candidate.stop().await.unwrap();
    assert_eq!(lines.take_terms(), ["second drains", "second ended after 0 s: it was released"]);
    group.until(|| first.candidate.is_leader()).await;
    assert_eq!(lines.take_terms(), ["first leads"]);
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_reported_with_its_reason_and_without_draining() {
    let (group, lines) = (Group::new(), Lines::default());
    let one = join(&group, "one", &lines).await;
    let term = one.candidate.leadership().unwrap();
    one.client.break_lease(term.lease().name(), term.token(), Break::Now).await.unwrap();
    group.until(|| one.candidate.leadership().is_some_and(|next| next.token() > term.token())).await;
    // Noticed at the next renewal (S22).
    let expected = ["one leads", "one ended after 5 s: it was broken by an administrator", "one leads"];
    assert_eq!(lines.take_terms(), expected);

    // Frozen in the middle of a term: it drains when the deadline is near, and the release has no answer.
    one.chaos.freeze();
    group.pass(SECOND * 20).await;
    let got = lines.take_terms();
    assert!(got.len() == 2 && got[0] == "one drains" && got[1].ends_with("released"), "{got:?}");
    one.chaos.thaw();
    group.until(|| one.candidate.is_leader()).await;

    // Work that does not drain lets the lease expire.
    lines.take();
    let candidate = one.candidate.clone();
    tokio::spawn(async move { candidate.lead(|_| std::future::pending::<()>()).await });
    group.pass(SECOND).await;
    one.chaos.freeze();
    group.pass(SECOND * 20).await;
    let got = lines.take_terms();
    assert!(got.len() == 2 && got[0] == "one drains" && got[1].ends_with("it expired"), "{got:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_ends_the_term() {
    let (group, lines) = (Group::new(), Lines::default());
    let one = join(&group, "one", &lines).await;
    one.client.close().await.unwrap();
    assert_eq!(lines.take_terms(), ["one leads", "one drains", "one ended after 0 s: it was released"]);

    // Work that is not polled does not end: the lease is not released under it, but expires.
    let two = join(&group, "two", &lines).await;
    let mut leading = Box::pin(two.candidate.lead(|_| std::future::pending::<()>()));
    tokio::select! {
        () = &mut leading => unreachable!("it is not stopped"),
        () = group.pass(Duration::from_millis(1)) => {}
    }
    two.client.close().await.unwrap();
    let got = lines.take_terms();
    assert_eq!(got, ["two leads", "two drains", "two ended after 19 s: it expired"]);
    group.pass(SECOND * 30).await;
    assert!(lines.take().is_empty(), "each end is reported once");
}

#[test]
fn a_runtime_that_ends_ends_the_term() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let lines = Lines::default();
    let client = LeaseClient::builder(MemoryStore::with_clock(SystemClock))
        .holder(HolderId::new("one").unwrap())
        .observer(lines.clone())
        .runtime(runtime.handle().clone())
        .build();
    let election = Election::new(client, "group", ElectionOptions::default()).unwrap();
    let candidate = runtime.block_on(async {
        let candidate = election.candidate(CandidateOptions::new()).unwrap();
        candidate.wait_for_leadership().await.unwrap();
        candidate
    });
    drop(runtime);
    assert_eq!(lines.take_terms(), ["one leads", "one ended after 0 s: the client was closed"]);
    assert!(!candidate.is_leader());
}

#[tokio::test(start_paused = true)]
async fn health_that_ticks_keeps_the_place_in_the_queue_until_the_candidate_is_unfit() {
    let (group, lines) = (Group::new(), Lines::default());
    let first = join(&group, "first", &lines).await;
    let second = join(&group, "second", &lines).await;
    lines.take();
    for tick in 0..100 {
        second.candidate.set_health(0.9 + f64::from(tick) / 1000.0).unwrap();
        group.pass(SECOND / 10).await;
    }
    assert!(lines.take().is_empty(), "it waits on");
    second.candidate.set_health(0.1).unwrap();
    group.pass(SECOND / 10).await;
    assert_eq!(lines.take(), [format!("second stops waiting: {:?}", WaitOutcome::Dropped)]);
    for _ in 0..10 {
        second.candidate.set_health(0.2).unwrap();
        group.pass(SECOND / 10).await;
    }
    assert!(lines.take().is_empty());
    second.candidate.set_health(1.0).unwrap();
    group.pass(SECOND / 10).await;
    assert_eq!(lines.take(), ["second waits"]);

    // A leader whose health fails steps down.
    first.candidate.set_health(0.0).unwrap();
    group.until(|| second.candidate.is_leader()).await;
    let got = lines.take();
    assert_eq!(got[0], "first drains", "{got:?}");
    assert_eq!(of(&got, "second"), ["second stops waiting: Won", "second leads"]);
}

#[tokio::test(start_paused = true)]
async fn every_observer_sees_the_same_and_one_that_panics_hides_nothing() {
    #[derive(Debug)]
    struct Panics;

    impl Observer for Panics {
        fn observe(&self, event: &LeaseEvent) {
            assert!(!matches!(event, LeaseEvent::Election { .. }), "a defect in the observer");
        }
    }

    let (group, before, after) = (Group::new(), Lines::default(), Lines::default());
    let client = LeaseClient::builder(group.store())
        .holder(HolderId::new("one").unwrap())
        .clock(group.clock)
        .observer(before.clone())
        .observer(Panics)
        .observer(after.clone())
        .build();
    let election = Election::new(client.clone(), "group", ElectionOptions::default()).unwrap();
    let candidate = election.candidate(CandidateOptions::new()).unwrap();
    group.until(|| candidate.is_leader()).await;
    group.pass(SECOND * 7).await;
    candidate.stop().await.unwrap();
    let seen = before.take_terms();
    assert_eq!(seen, ["one leads", "one drains", "one ended after 7 s: it was released"]);
    assert_eq!(after.take_terms(), seen);
    assert_eq!(client.health().observer_panics(), 3);
}
