//! Every future of an election may be dropped at any await (S15).

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use lease_core::{Clock, HolderId, LeaseClient, LeaseStore, TokioClock};
use lease_election::{Candidate, CandidateOptions, Election, ElectionOptions, LeadershipChange, Term};
use lease_memory::MemoryStore;
use lease_testkit::{ChaosStore, Fault, Operation};

/// More polls than any of these futures needs.
const POLLS: usize = 25;

/// Two candidates. The first one leads.
struct Group {
    clock: TokioClock,
    first: Candidate,
    second: Candidate,
}

impl Group {
    async fn new() -> Self {
        let clock = TokioClock::new();
        let store: Arc<dyn LeaseStore> = Arc::new(MemoryStore::with_clock(clock));
        // So that each call takes a few polls.
        let chaos = ChaosStore::new(store, Arc::new(clock), 0);
        for operation in [Operation::Acquire, Operation::Release, Operation::Inspect, Operation::List] {
            chaos.inject(Fault::DelayAnswer(Duration::ZERO).on(operation));
        }
        let candidate = |id: &str| {
            let client = LeaseClient::builder(chaos.clone()).holder(HolderId::new(id).unwrap()).clock(clock).build();
            let election = Election::new(client, "group", ElectionOptions::default()).unwrap();
            election.candidate(CandidateOptions::new()).unwrap()
        };
        let first = candidate("first");
        settle().await;
        let group = Self { clock, first, second: candidate("second") };
        settle().await;
        assert!(group.first.is_leader() && !group.second.is_leader());
        group
    }

    /// Waits a little, and asserts that there is one leader. Returns whether it is this candidate.
    async fn is_led_by(&self, candidate: &Candidate) -> bool {
        self.clock.sleep_until(self.clock.now() + Duration::from_secs(5)).await;
        assert_ne!(self.first.is_leader(), self.second.is_leader(), "there must be one leader");
        candidate.is_leader()
    }
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Polls the future this number of times, with all other tasks running in between, and then drops it.
async fn drop_after(polls: usize, future: impl Future) {
    let mut future = pin!(future);
    for _ in 0..polls {
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn s15_stop() {
    for polls in 0..POLLS {
        let group = Group::new().await;
        drop_after(polls, group.first.stop()).await;
        assert_eq!(group.is_led_by(&group.second).await, polls > 0, "after {polls} polls");
        group.first.start().unwrap();
        group.second.stop().await.unwrap();
        assert!(group.is_led_by(&group.first).await, "after {polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn s15_step_down() {
    for polls in 0..POLLS {
        let group = Group::new().await;
        drop_after(polls, group.first.step_down(Duration::from_secs(60))).await;
        assert_eq!(group.is_led_by(&group.second).await, polls > 0, "after {polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn s15_hand_over() {
    for polls in 0..POLLS {
        let group = Group::new().await;
        drop_after(polls, group.first.hand_over_to(group.second.id().clone())).await;
        assert_eq!(group.is_led_by(&group.second).await, polls > 0, "after {polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn s15_lead() {
    for polls in 0..POLLS {
        let group = Group::new().await;
        let term = group.first.leadership().unwrap();
        let work = Arc::new(());
        let working = |_: Term| {
            let work = Arc::clone(&work);
            async move {
                std::future::pending::<()>().await;
                drop(work);
            }
        };
        drop_after(polls, group.first.lead(working)).await;
        assert_eq!(Arc::strong_count(&work), 1, "the work goes with its future, after {polls} polls");
        settle().await;
        assert_eq!(term.is_held(), polls == 0, "work that was dropped gives the leadership up, after {polls} polls");
        group.is_led_by(&group.first).await;
    }
}

/// Futures that only read or wait change nothing when they are dropped, and can be created again.
#[tokio::test(start_paused = true)]
async fn s15_looking_and_waiting() {
    for polls in 0..POLLS {
        let group = Group::new().await;
        let (first, election) = (&group.first, group.second.election());
        let term = first.leadership().unwrap();
        let mut changes = [election.changes().unwrap(), first.changes().unwrap()];
        drop_after(polls, first.current_leader()).await;
        drop_after(polls, election.current_leader()).await;
        drop_after(polls, election.candidates()).await;
        drop_after(polls, term.draining()).await;
        for changes in &mut changes {
            drop_after(polls, changes.next()).await;
        }
        settle().await;
        assert!(term.is_held() && !term.is_draining(), "after {polls} polls");
        assert_eq!(election.current_leader().await.unwrap().unwrap().id, *first.id());
        assert_eq!(election.candidates().await.unwrap().len(), 2);
        first.stop().await.unwrap();
        term.draining().await;
        assert!(group.is_led_by(&group.second).await);
        for changes in &mut changes {
            let is_notified = async {
                loop {
                    if let LeadershipChange::Changed { new: Some(leader), .. } = changes.next().await.unwrap().unwrap()
                        && leader.id == *group.second.id()
                    {
                        return;
                    }
                }
            };
            tokio::select! {
                biased;
                () = is_notified => {}
                () = group.clock.sleep_until(group.clock.now() + Duration::from_secs(60)) => panic!("a change was lost"),
            }
        }
    }
}
