//! Many schedules of an election with faults, in paused time: at most one leader works at any time, terms rise, and there is a
//! leader soon after the faults end.
//!
//! A seed determines a schedule. `LEASE_SIMULATION_SEED=42 cargo test -p lease-election --test simulation` replays one;
//! `LEASE_SIMULATION_SCHEDULES` sets their number.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    env,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lease_core::{Clock, ErrorKind, HolderId, LeaseClient, LeaseName, LeaseStore, Moment};
use lease_election::{Candidate, CandidateOptions, Election, ElectionOptions, Term};
use lease_memory::MemoryStore;
use lease_testkit::{ChaosStore, Fault, History, OpenTenure, Operation, SeededRng, SkewedClock};

#[path = "../../lease-testkit/tests/simulation/watchdog_clock.rs"]
mod watchdog_clock;

use watchdog_clock::WatchdogClock;

const SCHEDULES: u64 = 60;

#[test]
fn at_most_one_leader_and_rising_terms_in_any_schedule() {
    let number = |variable: &str| env::var(variable).ok().map(|value| value.parse::<u64>().unwrap());
    let replay = number("LEASE_SIMULATION_SEED");
    let schedules = number("LEASE_SIMULATION_SCHEDULES").unwrap_or(SCHEDULES);
    let seeds = replay.map_or(0..schedules, |seed| seed..seed + 1);
    let (mut terms, schedules) = (0, seeds.end - seeds.start);
    for seed in seeds {
        let history = simulate(seed);
        if replay.is_some() {
            history.tenures().iter().for_each(|tenure| println!("{tenure}"));
        }
        let violations = history.violations();
        assert!(violations.is_empty(), "LEASE_SIMULATION_SEED={seed}: {violations:?}");
        terms += history.tenures().len() as u64;
    }
    println!("{schedules} schedules, {terms} terms");
    assert!(replay.is_some() || terms > schedules * 3, "too little happened: {terms} terms");
}

#[test]
fn a_schedule_can_be_replayed() {
    for seed in 0..5 {
        let tell = || simulate(seed).tenures().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(tell(), tell(), "seed {seed}");
    }
}

fn simulate(seed: u64) -> History {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let clock = Arc::new(WatchdogClock::new());
        clock.watch(schedule(seed, clock.clone())).await
    })
}

async fn schedule(seed: u64, clock: Arc<dyn Clock>) -> History {
    let mut rng = SeededRng::new(seed);
    let store: Arc<dyn LeaseStore> = Arc::new(MemoryStore::with_clock(Arc::clone(&clock)));
    let lease = Duration::from_secs(15);
    let (history, trouble_ends) = (History::default(), clock.now() + lease * 12);
    let mut everybody = Vec::new();
    for number in 0..2 + rng.below(3) {
        let chaos = ChaosStore::new(Arc::clone(&store), Arc::clone(&clock), rng.below(u64::MAX));
        for operation in [Operation::Acquire, Operation::Renew, Operation::Release] {
            let delay = rng.between(Duration::ZERO, lease / 2);
            for fault in
                [Fault::LoseAnswer, Fault::LoseRequest, Fault::DelayAnswer(delay), Fault::Fail(ErrorKind::Unavailable)]
            {
                chaos.inject(fault.on(operation).with_chance(0.05));
            }
        }
        let rate = i32::try_from(rng.below(20_001)).unwrap() - 10_000;
        let skewed = SkewedClock::new(Arc::clone(&clock), rate, rng.between(Duration::ZERO, lease * 1000));
        let id = HolderId::new(format!("candidate-{number}")).unwrap();
        let priority = i64::try_from(rng.below(3)).unwrap();
        let member =
            Member { id: id.clone(), priority, chaos: chaos.clone(), clock: skewed, candidate: Arc::default() };
        member.join();
        let worker = Worker {
            id,
            clock: Arc::clone(&clock),
            history: history.clone(),
            rng: SeededRng::new(rng.below(u64::MAX)),
        };
        tokio::spawn(worker.lead(member.clone(), trouble_ends));
        let nemesis = SeededRng::new(rng.below(u64::MAX));
        tokio::spawn(make_trouble(member.clone(), Arc::clone(&clock), nemesis, trouble_ends));
        everybody.push(member);
    }
    clock.sleep_until(trouble_ends).await;
    for member in &everybody {
        member.chaos.clear_rules();
        member.chaos.heal();
        member.chaos.thaw();
        let candidate = member.candidate();
        candidate.stop_watching_health();
        candidate.set_health(true).unwrap();
        candidate.start().unwrap();
    }
    // Time for delayed requests to arrive, then for the lease duration, a poll, and a hand-over.
    let bound = clock.now() + lease * 3;
    while !everybody.iter().any(|member| member.candidate().is_leader()) {
        assert!(clock.now() < bound, "LEASE_SIMULATION_SEED={seed}: there is no leader after the faults");
        clock.sleep_until(clock.now() + lease / 50).await;
    }
    for member in &everybody {
        member.candidate().stop().await.unwrap();
    }
    history
}

/// A process of the group, with its current candidate.
#[derive(Clone)]
struct Member {
    id: HolderId,
    priority: i64,
    chaos: ChaosStore,
    clock: SkewedClock,
    candidate: Arc<Mutex<Option<(LeaseClient, Candidate)>>>,
}

impl Member {
    /// Joins with a new client, as after a restart. Returns the former client.
    fn join(&self) -> Option<LeaseClient> {
        let client = LeaseClient::builder(self.chaos.clone()).holder(self.id.clone()).clock(self.clock.clone()).build();
        let election = Election::new(client.clone(), "group", ElectionOptions::default()).unwrap();
        let candidate = election.candidate(CandidateOptions::new().with_priority(self.priority)).unwrap();
        let before = self.candidate.lock().unwrap().replace((client, candidate));
        before.map(|(client, _)| client)
    }

    fn candidate(&self) -> Candidate {
        self.candidate.lock().unwrap().as_ref().unwrap().1.clone()
    }
}

struct Worker {
    id: HolderId,
    clock: Arc<dyn Clock>,
    history: History,
    rng: SeededRng,
}

/// Records the end of the work, however it ends.
struct Working {
    tenure: Option<OpenTenure>,
    clock: Arc<dyn Clock>,
}

impl Drop for Working {
    fn drop(&mut self) {
        if let Some(tenure) = self.tenure.take() {
            tenure.ended(self.clock.now());
        }
    }
}

impl Worker {
    async fn lead(mut self, member: Member, until: Moment) {
        // Starts the candidate again if a fault has stopped it, or has aborted its task.
        while self.clock.now() < until + Duration::from_secs(60) {
            let (clock, cut_short) = (Arc::clone(&self.clock), self.rng.chance(0.2) && self.clock.now() < until);
            let end = clock.now() + self.rng.between(Duration::ZERO, Duration::from_secs(60));
            let candidate = member.candidate();
            tokio::select! {
                biased;
                () = candidate.lead(|term| self.work(term)) => {}
                () = clock.sleep_until(end), if cut_short => {}
            }
            self.clock.sleep_until(self.clock.now() + Duration::from_secs(1)).await;
        }
    }

    fn work(&mut self, term: Term) -> impl Future<Output = ()> + use<> {
        let name = LeaseName::new("group").unwrap();
        let tenure = self.history.began(&name, &self.id, term.token(), self.clock.now());
        let working = Working { tenure: Some(tenure), clock: Arc::clone(&self.clock) };
        let (listens, ends_after) = (self.rng.chance(0.6), self.rng.between(Duration::ZERO, Duration::from_secs(90)));
        let clock = Arc::clone(&self.clock);
        async move {
            let _working = working;
            let end = clock.now() + ends_after;
            tokio::select! {
                biased;
                () = term.draining(), if listens => {}
                () = clock.sleep_until(end) => {}
            }
        }
    }
}

async fn make_trouble(member: Member, clock: Arc<dyn Clock>, mut rng: SeededRng, until: Moment) {
    let chaos = member.chaos.clone();
    while clock.now() < until {
        clock.sleep_until(clock.now() + rng.between(Duration::ZERO, Duration::from_secs(20))).await;
        let pause = clock.now() + rng.between(Duration::ZERO, Duration::from_secs(30));
        let candidate = member.candidate();
        match rng.below(9) {
            0 => {
                chaos.cut();
                clock.sleep_until(pause).await;
                chaos.heal();
            }
            1 => {
                chaos.freeze();
                clock.sleep_until(pause).await;
                chaos.thaw();
            }
            2 => {
                candidate.set_health(0.3).unwrap();
                clock.sleep_until(pause).await;
                candidate.set_health(true).unwrap();
            }
            3 => {
                candidate.stop().await.unwrap();
                clock.sleep_until(pause).await;
                candidate.start().unwrap();
            }
            4 => drop(candidate.step_down(Duration::from_secs(5)).await),
            // A health check with a short interval, and changing results.
            5 => {
                let (interval, seed) = (rng.between(Duration::from_millis(20), Duration::from_secs(3)), rng.below(99));
                let asked = AtomicU64::new(seed);
                let check = move || {
                    let number = asked.fetch_add(1, Ordering::Relaxed);
                    async move { if number.is_multiple_of(7) { 0.5 } else { 0.9 + (number % 5) as f64 / 50.0 } }
                };
                candidate.watch_health(interval, check).unwrap();
                clock.sleep_until(pause).await;
            }
            // The client is closed, and another one takes its place at once.
            6 => {
                let before = member.join();
                before.unwrap().close().await.unwrap();
            }
            _ => {
                let to = HolderId::new(format!("candidate-{}", rng.below(5))).unwrap();
                drop(candidate.hand_over_to(to).await);
            }
        }
    }
}
