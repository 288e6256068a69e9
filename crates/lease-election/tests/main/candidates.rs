//! Candidates: waiting for leadership, ids, health and stopping.

use lease_core::{ErrorKind, HolderId};
use lease_election::{CandidateOptions, Health};
use lease_testkit::{Fault, Operation};

use crate::support::{Group, SECOND};

#[tokio::test(start_paused = true)]
async fn a_leadership_can_be_waited_for() {
    let group = Group::new();
    let first = group.join("first", CandidateOptions::new()).await;
    let second = group.join("second", CandidateOptions::new().with_start_later()).await;
    let term = first.candidate.wait_for_leadership().await.unwrap();
    assert!(term.is_held());
    let waiting = tokio::spawn({
        let candidate = second.candidate.clone();
        async move { candidate.wait_for_leadership().await }
    });
    group.pass(SECOND).await;
    second.candidate.start().unwrap();
    group.pass(SECOND).await;
    assert!(!waiting.is_finished());
    first.candidate.stop().await.unwrap();
    let next = waiting.await.unwrap().unwrap();
    assert!(next.is_held() && next.token() > term.token());
    let error = first.candidate.wait_for_leadership().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn two_candidates_of_one_election_have_ids_of_their_own() {
    let group = Group::new();
    let one = group.join("one", CandidateOptions::new()).await;
    let election = one.candidate.election().clone();
    let error = election.candidate(CandidateOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("with_id"), "{error}");
    let other = election.candidate(CandidateOptions::new().with_id(HolderId::new("other").unwrap())).unwrap();
    drop(one);
    group.pass(SECOND).await;
    assert!(other.is_leader());
    assert!(election.candidate(CandidateOptions::new()).is_ok(), "it has gone");
}

#[tokio::test(start_paused = true)]
async fn a_score_that_changes_all_the_time_is_not_written_all_the_time() {
    let group = Group::new();
    let one = group.join("one", CandidateOptions::new()).await;
    let before = one.renewals.count();
    for n in 0..600 {
        one.candidate.set_health(0.9 + f64::from(n % 10) / 100.0).unwrap();
        group.pass(SECOND / 10).await;
    }
    let calls = one.renewals.count() - before;
    // Two leases are renewed every 5 s, and the published metadata is written every 2 to 3 s.
    assert!((30..=60).contains(&calls), "{calls} renewals in a minute");
    // Whether the candidate is fit is written at once.
    one.candidate.set_health(Health::unhealthy()).unwrap();
    group.pass(SECOND / 10).await;
    let seen = one.candidate.election().candidates().await.unwrap();
    assert!(!seen[0].is_fit, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_store_that_refuses() {
    let group = Group::new();
    let _leader = group.join("leader", CandidateOptions::new()).await;
    let other = group.join("other", CandidateOptions::new().with_start_later()).await;
    other.chaos.inject(Fault::Fail(ErrorKind::Denied).on(Operation::Acquire));
    other.candidate.start().unwrap();
    group.pass(SECOND * 5).await;
    let began = lease_core::Clock::now(&group.clock);
    other.candidate.stop().await.unwrap();
    let took = lease_core::Clock::now(&group.clock).saturating_since(began);
    assert!(took < SECOND / 10, "{took:?}");
}
