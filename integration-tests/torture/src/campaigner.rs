//! A worker's candidate in an election: its health comes and goes while it campaigns and leads.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use lease_core::LeaseClient;
use lease_election::{Candidate, CandidateOptions, Election, ElectionOptions, Health, Term};
use lease_testkit::SeededRng;
use tokio::sync::watch;

use crate::{belief::Beliefs, pause, worker::WorkerSettings, writer::Writer};

/// The name of the group, and of the lease that its leader holds.
const GROUP: &str = "jobs";
pub(crate) const LEADER: &str = "elections/jobs/leader";

/// How often the health is asked for, as a share of the ttl: more often than anybody campaigns.
const CHECKS: u32 = 10;

/// How likely a check says that the worker is not fit.
const UNFIT: f64 = 0.1;

/// Leads for a while, each time that it wins.
pub(crate) struct Campaigner {
    settings: WorkerSettings,
    beliefs: Beliefs,
    candidate: Candidate,
    rng: SeededRng,
}

impl Campaigner {
    pub(crate) fn new(
        settings: &WorkerSettings,
        client: &LeaseClient,
        beliefs: &Beliefs,
        mut rng: SeededRng,
    ) -> Result<Self> {
        let election = Election::new(client.clone(), GROUP, ElectionOptions::new(settings.ttl))?;
        let candidate = election.candidate(CandidateOptions::new())?;
        let health = Mutex::new(SeededRng::new(rng.below(u64::MAX)));
        candidate.watch_health(settings.ttl / CHECKS, move || {
            let is_fit = !health.lock().unwrap_or_else(PoisonError::into_inner).chance(UNFIT);
            std::future::ready(Health::from(is_fit))
        })?;
        Ok(Self { settings: settings.clone(), beliefs: beliefs.clone(), candidate, rng })
    }

    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let candidate = self.candidate.clone();
        let stopped = candidate.clone();
        let leading = candidate.lead(|term| self.term(term));
        let stopping = async {
            // The controller's end counts as one.
            let _ = stop.wait_for(|stop| *stop).await;
            stopped.stop().await
        };
        let ((), outcome) = tokio::join!(leading, stopping);
        if let Err(error) = outcome {
            eprintln!("the candidate did not stop: {error}");
        }
    }

    /// Writes to the resource for a while, or until it is to step down. Whatever is cut here ends as a loss in the record.
    fn term(&mut self, term: Term) -> impl Future<Output = ()> + use<> {
        let length = self.rng.between(self.settings.ttl / 10, self.settings.ttl * 2);
        let (beliefs, resource) = (self.beliefs.clone(), self.settings.resource.clone());
        let name = self.settings.name.clone();
        async move {
            let mut belief = beliefs.begin(0, term.lease().clone());
            let writer = Writer::start(beliefs, term.lease().clone(), resource, name);
            tokio::select! {
                () = pause(length) => {}
                () = term.draining() => {}
            }
            writer.stop().await;
            belief.releasing();
        }
    }
}
