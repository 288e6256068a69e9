//! Candidates on one memory store, each behind a store of its own that can fail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lease_core::{Clock, HolderId, LeaseClient, LeaseEvent, Observer, TokioClock};
use lease_election::{Candidate, CandidateOptions, Election, ElectionOptions};
use lease_memory::MemoryStore;
use lease_testkit::ChaosStore;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct Group {
    pub(crate) clock: TokioClock,
    store: MemoryStore,
}

/// A candidate, its client, and its store.
pub(crate) struct Member {
    pub(crate) chaos: ChaosStore,
    pub(crate) client: LeaseClient,
    pub(crate) candidate: Candidate,
    pub(crate) renewals: Renewals,
}

/// Counts the renewals of a client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Renewals(Arc<AtomicUsize>);

impl Renewals {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Observer for Renewals {
    fn observe(&self, event: &LeaseEvent) {
        if matches!(event, LeaseEvent::Renewed { .. }) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Group {
    pub(crate) fn new() -> Self {
        let clock = TokioClock::new();
        Self { clock, store: MemoryStore::with_clock(clock) }
    }

    pub(crate) fn store(&self) -> MemoryStore {
        self.store.clone()
    }

    /// Adds a candidate, with the default options of an election, and waits long enough for it to win if there is no leader.
    pub(crate) async fn join(&self, id: &str, options: CandidateOptions) -> Member {
        let chaos = ChaosStore::new(Arc::new(self.store.clone()), Arc::new(self.clock), 0);
        let renewals = Renewals::default();
        let client = LeaseClient::builder(chaos.clone())
            .holder(HolderId::new(id).unwrap())
            .clock(self.clock)
            .observer(renewals.clone())
            .build();
        let election = Election::new(client.clone(), "group", ElectionOptions::default()).unwrap();
        let candidate = election.candidate(options).unwrap();
        self.pass(Duration::from_millis(100)).await;
        Member { chaos, client, candidate, renewals }
    }

    pub(crate) async fn pass(&self, time: Duration) {
        self.clock.sleep_until(self.clock.now() + time).await;
    }

    /// Returns the time until this is true, at most an hour.
    pub(crate) async fn until(&self, condition: impl Fn() -> bool) -> Duration {
        let began = self.clock.now();
        while !condition() {
            assert!(self.clock.now().saturating_since(began) < SECOND * 3600, "not within an hour");
            self.pass(Duration::from_millis(10)).await;
        }
        self.clock.now().saturating_since(began)
    }
}
