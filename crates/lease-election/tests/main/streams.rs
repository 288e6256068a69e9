//! Streams of changes, when terms begin and end while nothing is read.

use std::{pin::pin, time::Duration};

use lease_core::{Clock, LossReason, SystemClock};
use lease_election::{CandidateOptions, Election, ElectionOptions, LeadershipChange, LeadershipStream};
use lease_memory::MemoryStore;
use lease_testkit::Hints;
use tokio_stream::StreamExt;

use crate::support::{Group, SECOND};

#[tokio::test(start_paused = true)]
async fn l05_terms_do_not_go_down_after_the_own_victory() {
    let group = Group::new();
    let first = group.join("first", CandidateOptions::new()).await;
    let second = group.join("second", CandidateOptions::new()).await;
    // The stream observes changes by polling only, so the candidate wins before the stream shows that the first one no longer
    // leads.
    second.chaos.set_hints(Hints::Dropped);
    let mut changes = second.candidate.changes().unwrap();
    group.pass(SECOND * 3).await;
    first.candidate.stop().await.unwrap();
    group.until(|| second.candidate.is_leader()).await;
    let (mut highest, mut seen) = (0, 0);
    let mut note = |term: u64| {
        assert!(term >= highest, "term {term} after {highest}");
        (highest, seen) = (term, seen + 1);
    };
    let end = group.pass(SECOND * 10);
    let mut end = pin!(end);
    loop {
        tokio::select! {
            change = changes.next() => match change.unwrap().unwrap() {
                LeadershipChange::Acquired { term, .. } => note(term.get()),
                LeadershipChange::Changed { new: Some(leader), .. } => note(leader.term.get()),
                _ => {}
            },
            () = &mut end => break,
        }
    }
    assert!(seen >= 2);
}

#[tokio::test(start_paused = true)]
async fn while_leader_is_one_term() {
    let group = Group::new();
    let one = group.join("one", CandidateOptions::new()).await;
    let mut terms = pin!(one.candidate.changes().unwrap().while_leader());
    let Some(Ok(LeadershipChange::Acquired { term, .. })) = terms.next().await else { panic!("it leads") };
    one.candidate.step_down(Duration::from_millis(100)).await.unwrap();
    group.until(|| one.candidate.leadership().is_some_and(|next| next.token() > term)).await;
    while let Some(change) = terms.next().await {
        assert!(!matches!(change.unwrap(), LeadershipChange::Acquired { .. }));
    }
}

/// Its client closes while its work still drains.
#[tokio::test(start_paused = true)]
async fn l06_the_last_change_of_a_candidate_that_leads_is_its_loss() {
    let group = Group::new();
    let one = group.join("one", CandidateOptions::new()).await;
    let mut changes = pin!(one.candidate.changes().unwrap());
    let candidate = one.candidate.clone();
    let clock = group.clock;
    tokio::spawn(async move {
        let work = |term: lease_election::Term| async move {
            term.draining().await;
            clock.sleep_until(clock.now() + SECOND).await;
        };
        candidate.lead(work).await
    });
    group.pass(SECOND).await;
    let client = one.client.clone();
    tokio::spawn(async move { client.close().await });
    let mut last = None;
    while let Some(change) = changes.next().await {
        if let Ok(change) = change {
            last = Some(change);
        }
    }
    assert!(matches!(last, Some(LeadershipChange::Lost { .. })), "{last:?}");
}

#[test]
fn l06_a_candidate_whose_runtime_ends_has_lost() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let client = lease_core::LeaseClient::new(MemoryStore::with_clock(SystemClock));
    let election = Election::new(client, "group", ElectionOptions::default()).unwrap();
    let candidate = first.block_on(async { election.candidate(CandidateOptions::new()).unwrap() });
    let mut changes = pin!(second.block_on(async { candidate.changes().unwrap() }));
    let mut next = || second.block_on(async { changes.next().await.unwrap().unwrap() });
    while !matches!(next(), LeadershipChange::Acquired { .. }) {}
    drop(first);
    loop {
        if let LeadershipChange::Lost { reason, .. } = next() {
            assert_eq!(reason, LossReason::ClientGone);
            return;
        }
    }
}
