//! A client that closes while its candidate leads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lease_core::{ErrorKind, HolderId, LeaseClient};
use lease_election::{CandidateOptions, Election, ElectionOptions};
use lease_memory::MemoryStore;

use crate::support::{Group, SECOND};

#[tokio::test(start_paused = true)]
async fn s17_work_drains_and_ends_before_another_one_leads_when_its_client_closes() {
    let group = Group::new();
    let first = group.join("first", CandidateOptions::new()).await;
    let (drained, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (candidate, clock) = (first.candidate.clone(), group.clock);
    let (is_drained, is_ended) = (Arc::clone(&drained), Arc::clone(&ended));
    tokio::spawn(async move {
        let work = |term: lease_election::Term| {
            let (drained, ended) = (Arc::clone(&is_drained), Arc::clone(&is_ended));
            async move {
                term.draining().await;
                drained.store(true, Ordering::SeqCst);
                use lease_core::Clock;
                clock.sleep_until(clock.now() + SECOND * 3).await;
                ended.store(true, Ordering::SeqCst);
            }
        };
        candidate.lead(work).await;
    });
    let second = group.join("second", CandidateOptions::new()).await;
    let closing = tokio::spawn(async move { first.client.close().await });
    let took = group.until(|| second.candidate.is_leader()).await;
    assert!(drained.load(Ordering::SeqCst) && ended.load(Ordering::SeqCst));
    assert!(took >= SECOND * 3 && took <= SECOND * 5, "{took:?}");
    closing.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn s17_a_lease_is_not_released_under_work_that_is_not_polled_when_its_client_closes() {
    let group = Group::new();
    let first = group.join("first", CandidateOptions::new()).await;
    let mut leading = Box::pin(first.candidate.lead(|_| std::future::pending()));
    // Polled until the work has begun, and never again.
    tokio::select! {
        () = &mut leading => unreachable!("it is not stopped"),
        () = group.pass(Duration::from_millis(1)) => {}
    }
    let second = group.join("second", CandidateOptions::new()).await;
    let client = first.client.clone();
    tokio::spawn(async move { client.close().await });
    let took = group.until(|| second.candidate.is_leader()).await;
    // Not before the lease has expired.
    assert!(took >= SECOND * 9, "{took:?}");
    drop(leading);
}

#[test]
fn a_candidate_of_a_runtime_that_has_ended_is_an_error() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (ended, other) = (runtime(), runtime());
    let client = ended.block_on(async { LeaseClient::new(MemoryStore::new()) });
    let election = Election::new(client, "primary", ElectionOptions::new(SECOND * 10)).unwrap();
    let options = |id: &str| CandidateOptions::new().with_id(HolderId::new(id).unwrap());
    let later = ended.block_on(async { election.candidate(options("later").with_start_later()) }).unwrap();
    drop(ended);
    other.block_on(async {
        let at_once = election.candidate(options("at-once"));
        for error in [later.start().unwrap_err(), at_once.map(drop).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Closed);
            assert!(error.to_string().contains("runtime"), "{error}");
        }
    });
}
