//! Does what a plan says.

use std::{sync::Arc, time::Duration};

use lease_core::{Break, Clock, HolderId, LeaseClient, LeaseName, LeaseOptions, LeaseStore, TokioClock, TryAcquired};
use lease_memory::MemoryStore;
use lease_testkit::{ChaosStore, History, SkewedClock};
use tokio::task::JoinSet;

use crate::{
    plan::{Asks, ClientPlan, Ends, Plan, Step, TroubleKind},
    story::Story,
};

pub(crate) struct Outcome {
    pub(crate) history: History,
    pub(crate) losses: u64,
}

/// Plays a plan, in paused time; the story is told on the way.
pub(crate) fn play(plan: &Plan, story: &Story) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(schedule(Arc::new(plan.clone()), story))
}

/// One client of the plan, and what can be done to it.
#[derive(Clone)]
struct Player {
    plan: Arc<Plan>,
    client: LeaseClient,
    chaos: ChaosStore,
    skewed: SkewedClock,
    clock: Arc<dyn Clock>,
    history: History,
    story: Story,
}

/// One schedule: a time of trouble, then peace, in which everybody must get on.
async fn schedule(plan: Arc<Plan>, story: &Story) -> Outcome {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let store: Arc<dyn LeaseStore> = Arc::new(MemoryStore::with_clock(Arc::clone(&clock)));
    let history = History::default();
    let (mut players, mut tasks) = (Vec::new(), JoinSet::new());
    for (number, ClientPlan { drift, hints, faults, .. }) in plan.clients.iter().enumerate() {
        let chaos = ChaosStore::new(Arc::clone(&store), Arc::clone(&clock), 0);
        for (operation, fault, every) in faults {
            chaos.inject(plan.fault(*fault).on(*operation).every(*every));
        }
        chaos.set_hints(*hints);
        let skewed = SkewedClock::new(Arc::clone(&clock), *drift, plan.ttl * u32::try_from(number).unwrap() * 1000);
        let mut client = LeaseClient::builder(chaos.clone()).holder(holder(number)).clock(skewed.clone());
        if story.is_told() {
            client = client.observer(story.of(number, Arc::clone(&clock)));
        }
        let client = client.build();
        let (plan, clock, history, story) = (Arc::clone(&plan), Arc::clone(&clock), history.clone(), story.clone());
        players.push(Player { plan, client, chaos, skewed, clock, history, story });
    }
    for (number, player) in players.iter().enumerate() {
        let ClientPlan { workers, .. } = &plan.clients[number];
        for worker in 0..workers.len() {
            let player = player.clone();
            tasks.spawn(async move { player.work(number, worker).await });
        }
        let player = player.clone();
        tasks.spawn(async move { player.suffer(number).await });
    }
    let operator = (Arc::clone(&plan), Arc::clone(&clock), Arc::clone(&store), story.clone());
    tasks.spawn(async move {
        let (plan, clock, store, story) = operator;
        for (after, name) in &plan.breaks {
            clock.sleep_until(clock.now() + plan.time(*after)).await;
            let name = job(*name);
            // In the way that keeps exclusion (S22).
            if let Some(record) = store.inspect(&name).await.unwrap() {
                story.tell(clock.now(), || format!("the operator breaks {name}, token {}", record.token));
                store.break_lease(&name, record.token, Break::AfterExpiry).await.unwrap();
            }
        }
        0
    });
    let losses = tasks.join_all().await.into_iter().sum();
    if !history.violations().is_empty() {
        return Outcome { history, losses };
    }
    for (player, name) in players.iter().zip([0, 1, 0, 1].map(job)) {
        player.get_on(&name).await;
    }
    Outcome { history, losses }
}

impl Player {
    /// How many leases it lost.
    async fn work(&self, client: usize, worker: usize) -> u64 {
        let mut losses = 0;
        for step in &self.plan.clients[client].workers[worker] {
            losses += u64::from(self.take(step).await);
        }
        losses
    }

    /// Takes a lease, holds it, and ends it. Whether it was lost.
    async fn take(&self, step: &Step) -> bool {
        self.pass(step.pause).await;
        let (name, ttl) = (job(step.name), self.plan.ttl);
        let mut options = LeaseOptions::new(ttl).with_announce(step.announce);
        if step.short_tenure {
            options = options.with_max_tenure(ttl);
        }
        if step.holds_on {
            options = options.with_hold_at_least(ttl / 2);
        }
        let lease = match step.asks {
            Asks::Once => self.client.try_acquire(&name, options).await.ok().and_then(TryAcquired::acquired),
            Asks::Waiting { limit, patience } => {
                let acquire = self.client.acquire(&name, options.with_wait_limit(self.plan.time(limit)));
                tokio::select! {
                    biased;
                    lease = acquire => lease.ok(),
                    () = self.pass(patience) => None,
                }
            }
        };
        let Some(lease) = lease else { return false };
        let tenure = self.history.began(&name, self.client.holder(), lease.token(), self.clock.now());
        tokio::select! {
            biased;
            _ = lease.lost() => {}
            () = self.pass(step.works) => {}
        }
        let lost = !lease.is_held();
        tenure.ended(self.clock.now());
        match step.ends {
            Ends::Release => drop(lease.release().await),
            Ends::Drop => drop(lease),
            Ends::Abandon => lease.abandon(),
            Ends::HandOver(successor) => drop(lease.hand_over(holder(successor.into()), ttl / 2).await),
        }
        lost
    }

    /// Is frozen, cut and suspended.
    async fn suffer(&self, client: usize) -> u64 {
        for trouble in &self.plan.clients[client].troubles {
            self.pass(trouble.after).await;
            let lasts = self.plan.time(trouble.lasts);
            self.story.tell(self.clock.now(), || format!("client-{client}: {:?} for {lasts:?}", trouble.kind));
            match trouble.kind {
                TroubleKind::Freeze => {
                    self.chaos.freeze();
                    self.pass(trouble.lasts).await;
                    self.chaos.thaw();
                }
                TroubleKind::Cut => {
                    self.chaos.cut();
                    self.pass(trouble.lasts).await;
                    self.chaos.heal();
                }
                TroubleKind::Jump => self.skewed.jump(lasts),
            }
        }
        0
    }

    /// In peace everybody gets what it asks for. What was delayed before may still arrive, and hold a name for its ttl.
    async fn get_on(&self, name: &LeaseName) {
        self.chaos.calm();
        let limit = self.plan.ttl * 8 + Duration::from_secs(10);
        let options = LeaseOptions::new(self.plan.ttl).with_wait_limit(limit);
        let lease = self.client.acquire(name, options).await;
        let lease = lease.unwrap_or_else(|error| panic!("no progress after the trouble: {error}"));
        let tenure = self.history.began(name, self.client.holder(), lease.token(), self.clock.now());
        self.pass(100).await;
        tenure.ended(self.clock.now());
        lease.release().await.expect("nothing is wrong any more");
    }

    /// Lets so many thousandths of a ttl pass.
    async fn pass(&self, thousandths: u32) {
        self.clock.sleep_until(self.clock.now() + self.plan.time(thousandths)).await;
    }
}

fn holder(client: usize) -> HolderId {
    HolderId::new(format!("client-{client}")).unwrap()
}

fn job(number: u8) -> LeaseName {
    LeaseName::new(format!("job-{number}")).unwrap()
}
