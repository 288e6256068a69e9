//! Runs a plan.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use lease_core::{Break, Clock, HolderId, Lease, LeaseClient, LeaseName, LeaseOptions, LeaseStore, TryAcquired};
use lease_memory::MemoryStore;
use lease_testkit::{ChaosStore, History, OpenTenure, SkewedClock};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    plan::{Acquire, ClientPlan, DisruptionKind, End, Plan, Step},
    trace::Trace,
    watchdog_clock::WatchdogClock,
};

pub(crate) struct Outcome {
    pub(crate) history: History,
    pub(crate) losses: u64,
}

/// Runs a plan in paused time and records its trace.
pub(crate) fn run(plan: &Plan, trace: &Trace) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let clock = Arc::new(WatchdogClock::new());
        let schedule = schedule(Arc::new(plan.clone()), clock.clone(), trace);
        clock.watch(schedule).await
    })
}

/// Drives one client of the plan, and injects its faults.
#[derive(Clone)]
struct Driver {
    plan: Arc<Plan>,
    number: usize,
    client: Arc<Mutex<LeaseClient>>,
    /// Changes when the tasks of the client are aborted and started again.
    aborted: watch::Sender<u32>,
    chaos: ChaosStore,
    skewed: SkewedClock,
    clock: Arc<dyn Clock>,
    history: History,
    trace: Trace,
}

/// Runs one schedule: a time with faults, then one without, in which each client must acquire a lease.
async fn schedule(plan: Arc<Plan>, clock: Arc<dyn Clock>, trace: &Trace) -> Outcome {
    let store: Arc<dyn LeaseStore> = Arc::new(MemoryStore::with_clock(Arc::clone(&clock)));
    let history = History::default();
    let (mut drivers, mut tasks) = (Vec::new(), JoinSet::new());
    for (number, ClientPlan { drift, hints, faults, .. }) in plan.clients.iter().enumerate() {
        let chaos = ChaosStore::new(Arc::clone(&store), Arc::clone(&clock), 0);
        for (operation, fault, every) in faults {
            chaos.inject(plan.fault(*fault).on(*operation).every(*every));
        }
        chaos.set_hints(*hints);
        let skewed = SkewedClock::new(Arc::clone(&clock), *drift, plan.ttl * u32::try_from(number).unwrap() * 1000);
        let client = Arc::new(Mutex::new(client(number, &chaos, &skewed, &clock, trace)));
        let (plan, clock, history, trace) = (Arc::clone(&plan), Arc::clone(&clock), history.clone(), trace.clone());
        let aborted = watch::Sender::new(0);
        drivers.push(Driver { plan, number, client, aborted, chaos, skewed, clock, history, trace });
    }
    for (number, driver) in drivers.iter().enumerate() {
        let ClientPlan { workers, .. } = &plan.clients[number];
        for worker in 0..workers.len() {
            let driver = driver.clone();
            tasks.spawn(async move { driver.work(worker).await });
        }
        let driver = driver.clone();
        tasks.spawn(async move { driver.disrupt().await });
    }
    let operator = (Arc::clone(&plan), Arc::clone(&clock), Arc::clone(&store), trace.clone());
    tasks.spawn(async move {
        let (plan, clock, store, trace) = operator;
        for (after, name) in &plan.breaks {
            clock.sleep_until(clock.now() + plan.time(*after)).await;
            let name = job(*name);
            // `AfterExpiry` keeps exclusion (S22).
            if let Some(record) = store.inspect(&name).await.unwrap() {
                trace.record(clock.now(), || format!("the operator breaks {name}, token {}", record.token));
                store.break_lease(&name, record.token, Break::AfterExpiry).await.unwrap();
            }
        }
        0
    });
    let losses = tasks.join_all().await.into_iter().sum();
    if !history.violations().is_empty() {
        return Outcome { history, losses };
    }
    for (driver, name) in drivers.iter().zip([0, 1, 0, 1].map(job)) {
        driver.assert_progress(&name).await;
    }
    Outcome { history, losses }
}

impl Driver {
    fn client(&self) -> LeaseClient {
        self.client.lock().unwrap().clone()
    }

    /// Runs the steps of a worker. Returns how many leases it lost.
    async fn work(&self, worker: usize) -> u64 {
        let (mut losses, mut aborted) = (0, self.aborted.subscribe());
        for step in &self.plan.clients[self.number].workers[worker] {
            tokio::select! {
                biased;
                // Drops the wait or the lease of the step.
                _ = aborted.changed() => {}
                lost = self.take(step) => losses += u64::from(lost),
            }
        }
        losses
    }

    /// Acquires a lease, holds it, and ends it. Returns whether it was lost.
    async fn take(&self, step: &Step) -> bool {
        self.pass(step.pause).await;
        let (name, ttl, client) = (job(step.name), self.plan.ttl, self.client());
        let mut options = LeaseOptions::new(ttl).with_announce(step.announce);
        if step.short_tenure {
            options = options.with_max_tenure(ttl);
        }
        if step.hold_at_least {
            options = options.with_hold_at_least(ttl / 2);
        }
        let Some(lease) = self.acquire(&client, &name, options, step.acquire).await else { return false };
        let tenure = self.history.began(&name, client.holder(), lease.token(), self.clock.now());
        // The tenure ends before the guard does, even if both are dropped.
        let (lease, tenure) = (lease, EndOnDrop { tenure: Some(tenure), clock: Arc::clone(&self.clock) });
        tokio::select! {
            biased;
            _ = lease.lost() => {}
            () = self.pass(step.works_for) => {}
        }
        let lost = !lease.is_held();
        drop(tenure);
        match step.end {
            End::Release => drop(lease.release().await),
            End::Drop => drop(lease),
            End::Abandon => lease.abandon(),
            End::HandOver(successor) => drop(lease.hand_over(holder(successor.into()), ttl / 2).await),
        }
        lost
    }

    async fn acquire(
        &self,
        client: &LeaseClient,
        name: &LeaseName,
        options: LeaseOptions,
        acquire: Acquire,
    ) -> Option<Lease> {
        match acquire {
            Acquire::Once => client.try_acquire(name, options).await.ok().and_then(TryAcquired::acquired),
            Acquire::Waiting { limit, cancel_after } => {
                let options = options.with_wait_limit(self.plan.time(limit));
                tokio::select! {
                    biased;
                    lease = client.acquire(name, options) => lease.ok(),
                    () = self.pass(cancel_after) => None,
                }
            }
            Acquire::Ticking { tick, ticks } => {
                for _ in 0..ticks {
                    tokio::select! {
                        biased;
                        lease = client.acquire(name, &options) => return lease.ok(),
                        () = self.pass(tick) => {}
                    }
                }
                None
            }
        }
    }

    /// Runs the disruptions of the client.
    async fn disrupt(&self) -> u64 {
        for disruption in &self.plan.clients[self.number].disruptions {
            self.pass(disruption.after).await;
            let duration = self.plan.time(disruption.duration);
            self.trace
                .record(self.clock.now(), || format!("client-{}: {:?} for {duration:?}", self.number, disruption.kind));
            match disruption.kind {
                DisruptionKind::Freeze => {
                    self.chaos.freeze();
                    self.pass(disruption.duration).await;
                    self.chaos.thaw();
                }
                DisruptionKind::Cut => {
                    self.chaos.cut();
                    self.pass(disruption.duration).await;
                    self.chaos.heal();
                }
                DisruptionKind::Jump => self.skewed.jump(duration),
                DisruptionKind::Abort => self.aborted.send_modify(|times| *times += 1),
                DisruptionKind::Close => {
                    let next = client(self.number, &self.chaos, &self.skewed, &self.clock, &self.trace);
                    let closed = std::mem::replace(&mut *self.client.lock().unwrap(), next);
                    closed.close().await.unwrap();
                }
            }
        }
        0
    }

    /// Acquires a lease without faults, which must succeed. Delayed requests may still arrive, and hold the name for a ttl.
    async fn assert_progress(&self, name: &LeaseName) {
        self.chaos.clear_rules();
        let limit = self.plan.ttl * 8 + Duration::from_secs(10);
        let options = LeaseOptions::new(self.plan.ttl).with_wait_limit(limit);
        let client = self.client();
        let lease = client.acquire(name, options).await;
        let lease = lease.unwrap_or_else(|error| panic!("no progress after the faults: {error}"));
        let tenure = self.history.began(name, client.holder(), lease.token(), self.clock.now());
        self.pass(100).await;
        tenure.ended(self.clock.now());
        lease.release().await.expect("release answers");
    }

    /// Sleeps for this many thousandths of a ttl.
    async fn pass(&self, thousandths: u32) {
        self.clock.sleep_until(self.clock.now() + self.plan.time(thousandths)).await;
    }
}

/// Records the end of a tenure, even if the task that holds it is dropped.
struct EndOnDrop {
    tenure: Option<OpenTenure>,
    clock: Arc<dyn Clock>,
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if let Some(tenure) = self.tenure.take() {
            tenure.ended(self.clock.now());
        }
    }
}

fn client(
    number: usize,
    chaos: &ChaosStore,
    skewed: &SkewedClock,
    clock: &Arc<dyn Clock>,
    trace: &Trace,
) -> LeaseClient {
    let builder = LeaseClient::builder(chaos.clone()).holder(holder(number)).clock(skewed.clone());
    if trace.is_enabled() {
        builder.observer(trace.observer(number, Arc::clone(clock))).build()
    } else {
        builder.build()
    }
}

fn holder(client: usize) -> HolderId {
    HolderId::new(format!("client-{client}")).unwrap()
}

fn job(number: u8) -> LeaseName {
    LeaseName::new(format!("job-{number}")).unwrap()
}
