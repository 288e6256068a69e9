//! Contention for two names while servers are harmed.

use std::{sync::Arc, time::Duration};

use lease_core::{Clock, LeaseClient, LeaseOptions, LeaseStore, SystemClock};
use lease_testkit::{History, Tenure};
use tokio::{sync::watch, task::JoinSet};

use crate::{Cluster, pass, within};

/// The time for which a contender holds a name.
const WORK: Duration = Duration::from_millis(150);
/// Shorter than an election of servers, so that an attempt begins soon after it.
const WAIT_LIMIT: Duration = Duration::from_secs(2);
/// Grants of each name after which the contention goes on.
const GRANTS: usize = 5;

/// Contenders for two names. Each repeatedly holds its name for a while and releases it.
#[derive(Debug)]
pub struct Contest {
    history: History,
    contenders: JoinSet<usize>,
    stop: watch::Sender<bool>,
    patience: Duration,
}

impl Contest {
    /// Starts one contender for each store. Every fault must be over for the contenders within this much more than two `ttl`.
    #[must_use]
    pub fn start(stores: Vec<Arc<dyn LeaseStore>>, ttl: Duration, late: Duration) -> Self {
        let history = History::default();
        let stop = watch::Sender::new(false);
        let mut contenders = JoinSet::new();
        for (number, store) in stores.into_iter().enumerate() {
            contenders.spawn(contend(store, number % 2, ttl, history.clone(), stop.subscribe()));
        }
        Self { history, contenders, stop, patience: ttl * 2 + late }
    }

    /// Waits for some grants of every name from now on.
    ///
    /// # Panics
    ///
    /// When there are none in time.
    pub async fn goes_on(&self) {
        let since = SystemClock.now();
        for job in ["job/0", "job/1"] {
            within("grants go on", self.patience, async {
                let is_new = |tenure: &Tenure| tenure.name.as_str() == job && tenure.from > since;
                while self.history.tenures().iter().filter(|tenure| is_new(tenure)).count() < GRANTS {
                    pass(Duration::from_millis(50)).await;
                }
            })
            .await;
        }
    }

    /// Kills the leader, and starts it again.
    ///
    /// # Panics
    ///
    /// When the contention does not go on, or a server cannot be harmed.
    pub async fn outlives_the_leader(&self, cluster: &impl Cluster) {
        self.goes_on().await;
        let leader = cluster.leader().await.expect("somebody leads");
        cluster.member(leader).kill().await.expect("it can be killed");
        self.goes_on().await;
        cluster.member(leader).start_again().await.expect("it starts again");
        self.goes_on().await;
    }

    /// Freezes the leader, and thaws it.
    ///
    /// # Panics
    ///
    /// As for [`Self::outlives_the_leader`].
    pub async fn passes_a_frozen_leader(&self, cluster: &impl Cluster) {
        self.goes_on().await;
        let leader = cluster.leader().await.expect("somebody leads");
        cluster.member(leader).freeze().await.expect("it can be frozen");
        self.goes_on().await;
        cluster.member(leader).thaw().await.expect("it can be thawed");
        self.goes_on().await;
    }

    /// Ends the contention. Returns the number of grants.
    ///
    /// # Panics
    ///
    /// When a contender hangs, or the history breaks a rule.
    pub async fn finish(self) -> usize {
        self.stop.send_replace(true);
        let grants = within("all contenders end", self.patience, self.contenders.join_all()).await;
        self.history.assert_sound();
        grants.iter().sum()
    }
}

async fn contend(
    store: Arc<dyn LeaseStore>,
    job: usize,
    ttl: Duration,
    history: History,
    stop: watch::Receiver<bool>,
) -> usize {
    let client = LeaseClient::new(store);
    let options = LeaseOptions::new(ttl).with_wait_limit(WAIT_LIMIT);
    let mut grants = 0;
    while !*stop.borrow() {
        // Errors and lost races are expected here.
        let Ok(lease) = client.acquire(format!("job/{job}"), options.clone()).await else { continue };
        let open = history.began(lease.name(), lease.holder(), lease.token(), SystemClock.now());
        grants += 1;
        let work = lease.while_held(pass(WORK)).await;
        let end = SystemClock.now();
        open.ended(if work.is_ok() { end } else { end.min(lease.valid_until()) });
        drop(lease.release().await);
    }
    drop(client.close().await);
    grants
}
