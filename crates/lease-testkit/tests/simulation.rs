//! Seeded schedules of several clients over the memory store, each with faults of its own, in paused time.
//!
//! A schedule is a plan that is drawn from its seed. `LEASE_SIMULATION_SEED=42 cargo test -p lease-testkit --test
//! simulation` replays one and prints its trace; `LEASE_SIMULATION_SCHEDULES` sets their number. A plan that fails is
//! reduced to the smallest one that still fails, and its trace is printed.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "simulation/plan.rs"]
mod plan;
#[path = "simulation/runner.rs"]
mod runner;
#[path = "simulation/trace.rs"]
mod trace;
#[path = "simulation/watchdog_clock.rs"]
mod watchdog_clock;

use std::{
    env,
    ops::RangeInclusive,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use lease_core::{Clock, SystemClock};
use lease_testkit::{Tenure, Violation};
use plan::{Plan, plans};
use proptest::{
    strategy::{Just, Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestCaseError, TestCaseResult, TestError, TestRng, TestRunner},
};
use runner::{Outcome, run};
use trace::Trace;

/// The clock error that clients tolerate, in parts per million.
const ASSUMED_DRIFT: RangeInclusive<i32> = -10_000..=10_000;

#[test]
fn s01_s09_at_most_one_holder_and_rising_tokens_in_any_schedule() {
    let number = |variable: &str| env::var(variable).ok().map(|value| value.parse::<u64>().unwrap());
    if let Some(seed) = number("LEASE_SIMULATION_SEED") {
        println!("{}", trace_of(&drawn(seed, ASSUMED_DRIFT).1.current()));
    }
    let seeds = match number("LEASE_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LEASE_SIMULATION_SCHEDULES").unwrap_or(2_000),
    };
    let (schedules, began) = (seeds.end - seeds.start, SystemClock.now());
    let next = AtomicU64::new(seeds.start);
    let (tenures, losses) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || {
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds.end) {
            let smallest = smallest_that_fails(seed, ASSUMED_DRIFT, |outcome| {
                tenures.fetch_add(outcome.history.tenures().len() as u64, Ordering::Relaxed);
                losses.fetch_add(outcome.losses, Ordering::Relaxed);
                outcome.history.violations()
            });
            if let Some((why, plan)) = smallest {
                panic!(
                    "LEASE_SIMULATION_SEED={seed}: {why}\nThe smallest plan that fails like this:\n{}",
                    trace_of(&plan)
                );
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, |number| number.get());
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let (tenures, losses) = (tenures.into_inner(), losses.into_inner());
    let took = SystemClock.now().saturating_since(began).as_secs_f64();
    println!(
        "{schedules} schedules, {tenures} tenures, of which {losses} were lost; {:.0} schedules a second",
        schedules as f64 / took
    );
    assert!(schedules == 1 || tenures > schedules * 7, "only {tenures} tenures");
    assert!(schedules == 1 || losses > schedules / 3, "only {losses} losses");
}

/// The negative control: a clock with a greater error than clients tolerate causes an overlap, with a short trace.
#[test]
fn a_clock_that_is_worse_than_assumed_is_caught_with_a_short_trace() {
    let overlaps = |outcome: Outcome| {
        let violations = outcome.history.violations().into_iter();
        violations.filter(|violation| matches!(violation, Violation::Overlap { .. })).collect()
    };
    let caught = (0..1_000).find_map(|seed| smallest_that_fails(seed, -400_000..=-300_000, overlaps));
    let (_, plan) = caught.expect("clocks that lose a third caused no violation: the checker finds nothing");
    let trace = trace_of(&plan);
    println!("{trace}");
    assert_eq!(plan.clients.len(), 2, "two clients are enough");
    assert!(trace.contains("two holders"));
    assert!(trace.lines().count() <= 20, "the trace is too long");
}

#[test]
fn a_schedule_can_be_replayed() {
    for seed in 0..20 {
        let tenures = || {
            let outcome = run(&drawn(seed, ASSUMED_DRIFT).1.current(), &Trace::disabled());
            outcome.history.tenures().iter().map(Tenure::to_string).collect::<Vec<_>>()
        };
        assert_eq!(tenures(), tenures(), "seed {seed}");
    }
}

/// Draws the plan of this seed. Returns the runner that can reduce it.
fn drawn(seed: u64, drift: RangeInclusive<i32>) -> (TestRunner, impl ValueTree<Value = Plan>) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { max_shrink_time: 20_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let tree = plans(drift).new_tree(&mut runner).unwrap();
    (runner, tree)
}

/// Runs the plan of this seed. If it fails, returns the smallest part of it that fails, and the violation.
fn smallest_that_fails(
    seed: u64,
    drift: RangeInclusive<i32>,
    violations: impl Fn(Outcome) -> Vec<Violation>,
) -> Option<(String, Plan)> {
    let (mut runner, tree) = drawn(seed, drift);
    let test = |plan: Plan| -> TestCaseResult {
        let violations = violations(run(&plan, &Trace::disabled()));
        violations.first().map_or(Ok(()), |violation| Err(TestCaseError::fail(violation.to_string())))
    };
    let (mut why, mut plan) = match runner.run_one(tree, test) {
        Ok(_) => return None,
        Err(TestError::Fail(why, plan)) => (why, plan),
        Err(TestError::Abort(why)) => panic!("{why}"),
    };
    // A part that was needed at first may not be needed any more.
    let mut fails = |plan: Plan| match runner.run_one(Just(plan).new_tree(&mut TestRunner::default()).unwrap(), test) {
        Err(TestError::Fail(why, plan)) => Some((why, plan)),
        _ => None,
    };
    let enough = SystemClock.now() + Duration::from_secs(20);
    let in_time = |_: &Plan| SystemClock.now() < enough;
    while let Some(smaller) = plan.without_a_part().into_iter().take_while(in_time).find_map(&mut fails) {
        (why, plan) = smaller;
    }
    Some((why.to_string(), plan))
}

/// Returns the plan, its trace, and the violations.
fn trace_of(plan: &Plan) -> String {
    let trace = Trace::enabled();
    let outcome = run(plan, &trace);
    let verdict = outcome.history.violations().into_iter().map(|violation| format!("{violation}\n"));
    format!("{plan}{trace}{}", verdict.collect::<String>())
}

/// A schedule that would hang the simulation fails it.
#[test]
fn schedules_that_spin_or_stand_still_fail() {
    let fails = |schedule: fn(&watchdog_clock::WatchdogClock) -> bool| {
        let outcome = std::panic::catch_unwind(|| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let clock = watchdog_clock::WatchdogClock::new();
                clock
                    .watch(std::future::poll_fn(|context| {
                        let spins = schedule(&clock);
                        if spins {
                            context.waker().wake_by_ref();
                        }
                        std::task::Poll::<()>::Pending
                    }))
                    .await
            });
        });
        outcome
            .unwrap_err()
            .downcast::<String>()
            .map_or_else(|why| why.downcast::<&str>().unwrap().to_string(), |why| *why)
    };
    assert_eq!(fails(|_| false), "a deadlock");
    let spins = fails(|clock| clock.now() >= lease_core::Moment::from_origin(Duration::ZERO));
    assert!(spins.contains("a livelock"), "{spins}");
}
