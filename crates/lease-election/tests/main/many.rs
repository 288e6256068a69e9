//! Many elections on one client.

use std::{sync::Arc, time::Duration};

use lease_core::{Clock, LeaseClient, TokioClock};
use lease_election::{CandidateOptions, Election, ElectionOptions};
use lease_memory::MemoryStore;
use lease_testkit::{Operation, RecordingStore};

const GROUPS: usize = 100;

/// A hundred elections have two hundred leases, those of the leaders and of the candidates. One task renews all of them
/// together.
#[tokio::test(start_paused = true)]
async fn a_hundred_elections_share_their_renewals() {
    let clock = TokioClock::new();
    let store = RecordingStore::new(Arc::new(MemoryStore::with_clock(clock)));
    let client = LeaseClient::builder(store.clone()).clock(clock).build();
    let mut candidates = Vec::new();
    for group in 0..GROUPS {
        let election = Election::new(client.clone(), &format!("group-{group}"), ElectionOptions::default()).unwrap();
        candidates.push(election.candidate(CandidateOptions::new()).unwrap());
        clock.sleep_until(clock.now() + Duration::from_millis(70)).await;
    }
    clock.sleep_until(clock.now() + Duration::from_secs(20)).await;
    assert!(candidates.iter().all(|candidate| candidate.is_leader()));
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    // Two tasks per candidate, for its campaign and its registration; and the renewal for all of them.
    assert!(tasks <= GROUPS * 2 + 2, "{tasks} tasks");

    store.clear();
    clock.sleep_until(clock.now() + Duration::from_secs(15)).await;
    let requests = store.count(Operation::Renew);
    println!("{GROUPS} elections: {tasks} tasks, {requests} renewal requests in 3 intervals");
    assert!(requests <= 3 * 17, "{requests} requests for 600 renewals");
    assert!(candidates.iter().all(|candidate| candidate.is_leader()));
}
