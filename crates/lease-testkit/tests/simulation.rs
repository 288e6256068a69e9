//! Seeded schedules of several clients over the memory store, each with troubles of its own, in paused time.
//!
//! A schedule is its seed: `LEASE_SIMULATION_SEED=42 cargo test -p lease-testkit --test simulation` replays one and tells
//! what happened in it; `LEASE_SIMULATION_SCHEDULES` sets how many there are.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use lease_core::{
    Break, Clock, ErrorKind, HolderId, LeaseClient, LeaseName, LeaseOptions, LeaseStore, Moment, TokioClock,
};
use lease_memory::MemoryStore;
use lease_testkit::{ChaosStore, Dice, Fault, Hints, History, Operation, Rule, SkewedClock, Tenure, Violation};
use tokio::task::JoinSet;

/// The clock error that clients assume at most, in parts per million.
const ASSUMED_DRIFT: i32 = 10_000;

#[test]
fn s01_s09_at_most_one_holder_and_rising_tokens_in_any_schedule() {
    let number = |variable: &str| env::var(variable).ok().map(|value| value.parse::<u64>().unwrap());
    let (seeds, is_replay) = match number("LEASE_SIMULATION_SEED") {
        Some(seed) => (seed..seed + 1, true),
        None => (0..number("LEASE_SIMULATION_SCHEDULES").unwrap_or(500), false),
    };
    let schedules = seeds.end - seeds.start;
    let (next, threads) =
        (AtomicU64::new(seeds.start), thread::available_parallelism().map_or(1, |number| number.get()));
    let work = || {
        let (mut tenures, mut losses) = (0, 0);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return (tenures, losses);
            }
            let outcome = simulate(seed, -ASSUMED_DRIFT..=ASSUMED_DRIFT);
            if is_replay {
                outcome.history.tenures().iter().for_each(|tenure| println!("{tenure}"));
            }
            let violations = outcome.history.violations();
            assert!(violations.is_empty(), "LEASE_SIMULATION_SEED={seed}: {}", tell(&violations));
            tenures += outcome.history.tenures().len() as u64;
            losses += outcome.losses as u64;
        }
    };
    let (tenures, losses) = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    println!("{schedules} schedules, {tenures} tenures, of which {losses} were lost");
    assert!(is_replay || tenures > schedules * 5, "too little happened: {tenures} tenures in {schedules} schedules");
    assert!(is_replay || losses > schedules / 5, "too little went wrong: {losses} losses in {schedules} schedules");
}

/// The negative control: a clock that is off by more than clients assume must be caught.
#[test]
fn a_clock_that_is_worse_than_assumed_is_caught() {
    let caught = (0..200).find(|seed| {
        let violations = simulate(*seed, -400_000..=-300_000).history.violations();
        violations.iter().any(|violation| matches!(violation, Violation::Overlap { .. }))
    });
    assert!(caught.is_some(), "clocks that lose a third were never noticed: the checker proves nothing");
}

#[test]
fn a_schedule_can_be_replayed() {
    for seed in 0..20 {
        let tell = |history: &History| history.tenures().iter().map(Tenure::to_string).collect::<Vec<_>>();
        let (first, second) =
            (simulate(seed, -ASSUMED_DRIFT..=ASSUMED_DRIFT), simulate(seed, -ASSUMED_DRIFT..=ASSUMED_DRIFT));
        assert_eq!(tell(&first.history), tell(&second.history), "seed {seed}");
    }
}

struct Outcome {
    history: History,
    losses: usize,
}

fn simulate(seed: u64, drift: std::ops::RangeInclusive<i32>) -> Outcome {
    let _tells_the_seed = TellsTheSeed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(schedule(seed, drift))
}

/// One schedule: a time of trouble, then peace, in which everybody must get on.
async fn schedule(seed: u64, drift: std::ops::RangeInclusive<i32>) -> Outcome {
    let mut dice = Dice::seeded(seed);
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let store: Arc<dyn LeaseStore> = Arc::new(MemoryStore::with_clock(Arc::clone(&clock)));
    let ttl = *dice.pick(&[Duration::from_millis(300), Duration::from_secs(2), Duration::from_secs(20)]);
    let names: Vec<_> = (0..=dice.below(2)).map(|number| LeaseName::new(format!("job-{number}")).unwrap()).collect();
    let trouble_ends = clock.now() + ttl * 15;
    let history = History::default();
    let (mut clients, mut troubles, mut tasks) = (Vec::new(), Vec::new(), JoinSet::new());
    let contenders = 2 + dice.below(3);
    for number in 0..contenders {
        let chaos = ChaosStore::new(Arc::clone(&store), Arc::clone(&clock), dice.below(u64::MAX));
        for rule in rules(&mut dice, ttl) {
            chaos.inject(rule);
        }
        chaos.set_hints(*dice.pick(&[Hints::Delivered, Hints::Delivered, Hints::Dropped]));
        let width = u64::from(drift.end().abs_diff(*drift.start()));
        let rate = drift.start() + i32::try_from(dice.below(width + 1)).unwrap();
        let skewed = SkewedClock::new(Arc::clone(&clock), rate, dice.between(Duration::ZERO, ttl * 1000));
        let client = LeaseClient::new(chaos.clone())
            .with_holder(HolderId::new(format!("client-{number}")).unwrap())
            .with_clock(skewed.clone());
        for _ in 0..=dice.below(2) {
            let worker = Worker {
                client: client.clone(),
                clock: Arc::clone(&clock),
                names: names.clone(),
                ttl,
                others: contenders,
                history: history.clone(),
                dice: Dice::seeded(dice.below(u64::MAX)),
            };
            tasks.spawn(worker.work_until(trouble_ends));
        }
        troubles.push((chaos.clone(), skewed, Dice::seeded(dice.below(u64::MAX))));
        clients.push((client, chaos));
    }
    for (chaos, skewed, dice) in troubles {
        tasks.spawn(make_trouble(chaos, skewed, dice, Arc::clone(&clock), ttl, trouble_ends));
    }
    let mut operator = Operator { store, clock: Arc::clone(&clock), names: names.clone(), dice };
    tasks.spawn(async move {
        operator.break_until(ttl, trouble_ends).await;
        0
    });
    let losses = tasks.join_all().await.into_iter().sum();

    // What was delayed before may still arrive, and hold a name for its ttl.
    let limit = ttl * 8 + Duration::from_secs(10);
    for (client, chaos) in &clients {
        chaos.calm();
        chaos.heal();
        chaos.thaw();
        for name in &names {
            let options = LeaseOptions::new(ttl).with_wait_limit(limit);
            let lease = client.acquire(name, options).await;
            let lease = lease.unwrap_or_else(|error| panic!("no progress after the trouble: {error}"));
            let tenure = history.began(name, client.holder(), lease.token(), clock.now());
            clock.sleep_until(clock.now() + ttl / 8).await;
            tenure.ended(clock.now());
            lease.release().await.expect("nothing is wrong any more");
        }
    }
    Outcome { history, losses }
}

/// Who takes leases, holds them for a while, and ends them in one of several ways.
struct Worker {
    client: LeaseClient,
    clock: Arc<dyn Clock>,
    names: Vec<LeaseName>,
    ttl: Duration,
    others: u64,
    history: History,
    dice: Dice,
}

impl Worker {
    /// How many leases it lost.
    async fn work_until(mut self, end: Moment) -> usize {
        let mut losses = 0;
        while self.clock.now() < end {
            let name = self.dice.pick(&self.names).clone();
            let mut options = LeaseOptions::new(self.ttl).with_announce(self.dice.chance(0.3));
            if self.dice.chance(0.1) {
                options = options.with_max_tenure(self.ttl);
            }
            if self.dice.chance(0.1) {
                options = options.with_hold_at_least(self.ttl / 2);
            }
            let lease = if self.dice.chance(0.3) {
                self.client.try_acquire(&name, options).await.ok().flatten()
            } else {
                let limit = self.dice.between(Duration::ZERO, self.ttl * 3);
                let acquire = self.client.acquire(&name, options.with_wait_limit(limit));
                let patience = self.dice.between(Duration::ZERO, self.ttl * 4);
                // Some callers go away at any moment (S15).
                tokio::select! {
                    biased;
                    lease = acquire => lease.ok(),
                    () = self.clock.sleep_until(self.clock.now() + patience) => None,
                }
            };
            let Some(lease) = lease else {
                let pause = self.dice.between(Duration::ZERO, self.ttl / 4);
                self.clock.sleep_until(self.clock.now() + pause).await;
                continue;
            };
            let tenure = self.history.began(&name, self.client.holder(), lease.token(), self.clock.now());
            let mut works_until = self.clock.now() + self.dice.between(Duration::ZERO, self.ttl * 2);
            if self.dice.chance(0.2) {
                works_until = self.clock.now();
            }
            tokio::select! {
                biased;
                _ = lease.lost() => {}
                () = self.clock.sleep_until(works_until) => {}
            }
            losses += usize::from(!lease.is_held());
            tenure.ended(self.clock.now());
            match self.dice.below(6) {
                0 => lease.abandon(),
                1 => drop(lease),
                2 => {
                    let successor = HolderId::new(format!("client-{}", self.dice.below(self.others))).unwrap();
                    let _ = lease.hand_over(successor, self.ttl / 2).await;
                }
                _ => drop(lease.release().await),
            }
        }
        losses
    }
}

/// Freezes, cuts and suspends one client from time to time.
async fn make_trouble(
    chaos: ChaosStore,
    skewed: SkewedClock,
    mut dice: Dice,
    clock: Arc<dyn Clock>,
    ttl: Duration,
    end: Moment,
) -> usize {
    while clock.now() < end {
        clock.sleep_until(clock.now() + dice.between(ttl / 2, ttl * 5)).await;
        let lasts = dice.between(Duration::ZERO, ttl * 2);
        match dice.below(4) {
            0 => {
                chaos.freeze();
                clock.sleep_until(clock.now() + lasts).await;
                chaos.thaw();
            }
            1 => {
                chaos.cut();
                clock.sleep_until(clock.now() + lasts).await;
                chaos.heal();
            }
            2 => skewed.jump(lasts),
            _ => {}
        }
    }
    0
}

/// Breaks leases in the way that keeps exclusion (S22).
struct Operator {
    store: Arc<dyn LeaseStore>,
    clock: Arc<dyn Clock>,
    names: Vec<LeaseName>,
    dice: Dice,
}

impl Operator {
    async fn break_until(&mut self, ttl: Duration, end: Moment) {
        while self.clock.now() < end {
            self.clock.sleep_until(self.clock.now() + self.dice.between(ttl, ttl * 8)).await;
            let name = self.dice.pick(&self.names);
            if let Some(record) = self.store.inspect(name).await.unwrap() {
                self.store.break_lease(name, record.token, Break::AfterExpiry).await.unwrap();
            }
        }
    }
}

fn rules(dice: &mut Dice, ttl: Duration) -> Vec<Rule> {
    let mut rules = Vec::new();
    for operation in [Operation::Acquire, Operation::Renew, Operation::Release, Operation::Inspect] {
        for _ in 0..dice.below(4) {
            let delay = match dice.below(3) {
                0 => dice.between(Duration::ZERO, ttl / 8),
                1 => dice.between(Duration::ZERO, ttl),
                _ => dice.between(ttl, ttl * 2),
            };
            let fault = match dice.below(8) {
                0 | 1 => Fault::DelayRequest(delay),
                2 => Fault::DelayAnswer(delay),
                3 => Fault::LoseRequest,
                4 => Fault::LoseAnswer,
                5 | 6 => Fault::Duplicate(delay),
                _ => Fault::Fail(*dice.pick(&[ErrorKind::Unavailable, ErrorKind::Indeterminate, ErrorKind::Internal])),
            };
            rules.push(fault.on(operation).with_chance(*dice.pick(&[0.02, 0.1, 0.4])));
        }
    }
    rules
}

fn tell(violations: &[Violation]) -> String {
    violations.iter().map(|violation| format!("\n  {violation}")).collect()
}

/// Tells how to replay a schedule that panics.
struct TellsTheSeed(u64);

impl Drop for TellsTheSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to replay it: LEASE_SIMULATION_SEED={}", self.0);
        }
    }
}
