//! A worker's candidate in an election. Its health changes while it campaigns and leads.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use lease_core::LeaseClient;
use lease_election::{Candidate, CandidateOptions, Election, ElectionOptions, Health, Term};
use lease_testkit::SeededRng;
use tokio::sync::watch;

use crate::{pause, tenure::Tenures, worker::WorkerSettings, writer::Writer};

/// The name of the group, and of the lease that its leader holds.
const GROUP: &str = "jobs";
pub(crate) const LEADER: &str = "elections/jobs/leader";

/// Checks of the health for each ttl: more than a candidate makes campaigns.
const CHECKS: u32 = 10;

/// The probability that a check reports the worker as unhealthy.
const UNHEALTHY: f64 = 0.1;

/// A candidate that leads for a random time whenever it wins.
pub(crate) struct Campaigner {
    settings: WorkerSettings,
    tenures: Tenures,
    candidate: Candidate,
    rng: SeededRng,
}

impl Campaigner {
    pub(crate) fn new(
        settings: &WorkerSettings,
        client: &LeaseClient,
        tenures: &Tenures,
        mut rng: SeededRng,
    ) -> Result<Self> {
        let election = Election::new(client.clone(), GROUP, ElectionOptions::new(settings.ttl))?;
        let candidate = election.candidate(CandidateOptions::new())?;
        let health = Mutex::new(SeededRng::new(rng.below(u64::MAX)));
        candidate.watch_health(settings.ttl / CHECKS, move || {
            let is_healthy = !health.lock().unwrap_or_else(PoisonError::into_inner).chance(UNHEALTHY);
            std::future::ready(Health::from(is_healthy))
        })?;
        Ok(Self { settings: settings.clone(), tenures: tenures.clone(), candidate, rng })
    }

    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let candidate = self.candidate.clone();
        let stopped = candidate.clone();
        let leading = candidate.lead(|term| self.term(term));
        let stopping = async {
            // The end of the controller is a stop, too.
            let _ = stop.wait_for(|stop| *stop).await;
            stopped.stop().await
        };
        let ((), outcome) = tokio::join!(leading, stopping);
        if let Err(error) = outcome {
            eprintln!("the candidate did not stop: {error}");
        }
    }

    /// Writes to the resource for a while, or until the term is draining. If this work is dropped, the record has a loss.
    fn term(&mut self, term: Term) -> impl Future<Output = ()> + use<> {
        let length = self.rng.between(self.settings.ttl / 10, self.settings.ttl * 2);
        let (tenures, resource) = (self.tenures.clone(), self.settings.resource.clone());
        let name = self.settings.name.clone();
        async move {
            let mut tenure = tenures.begin(0, term.lease().clone());
            let writer = Writer::start(tenures, term.lease().clone(), resource, name);
            tokio::select! {
                () = pause(length) => {}
                () = term.draining() => {}
            }
            writer.stop().await;
            tenure.releasing();
        }
    }
}
