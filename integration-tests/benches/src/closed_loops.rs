//! Tasks that lock and release names of their own, one after the other, without pauses.

use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use lease_core::{Clock, Moment, SystemClock};
use serde::Serialize;

use crate::contender::{Contender, Resource};

/// The number of names of each task, so that no name is locked again right after its release.
const NAMES_OF_A_TASK: usize = 4;

/// The result of one measurement.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sample {
    /// Pairs of lock and release.
    pub(crate) pairs_per_second: f64,
    /// Of a pair.
    pub(crate) p50_us: u64,
    /// Of a pair.
    pub(crate) p99_us: u64,
}

/// A contender with its tasks.
pub(crate) struct ClosedLoops {
    tasks: Vec<Task>,
}

type Task = Vec<Box<dyn Resource>>;

impl ClosedLoops {
    /// Creates the names of each task, and uses each of them once.
    pub(crate) async fn prepare(contender: &dyn Contender, tasks: usize) -> Result<Self> {
        let mut prepared = Vec::with_capacity(tasks);
        for task in 0..tasks {
            let mut resources = Vec::with_capacity(NAMES_OF_A_TASK);
            for number in 0..NAMES_OF_A_TASK {
                let resource = contender.resource(&format!("bench/task-{task}/name-{number}")).await?;
                resource.lock_free().await?.release().await?;
                resources.push(resource);
            }
            prepared.push(resources);
        }
        Ok(Self { tasks: prepared })
    }

    /// Runs all tasks for this time, after a warm-up of a tenth of it.
    pub(crate) async fn run(&mut self, duration: Duration) -> Result<Sample> {
        let begin = SystemClock.now() + duration / 10;
        let end = begin + duration;
        let tasks = self.tasks.drain(..).map(|task| tokio::spawn(run_task(task, begin, end)));
        let mut all = new_histogram()?;
        for outcome in try_join_all(tasks).await? {
            let (task, histogram) = outcome?;
            self.tasks.push(task);
            all.add(histogram)?;
        }
        Ok(Sample {
            pairs_per_second: all.len() as f64 / duration.as_secs_f64(),
            p50_us: all.value_at_quantile(0.5) / 1000,
            p99_us: all.value_at_quantile(0.99) / 1000,
        })
    }
}

async fn run_task(task: Task, begin: Moment, end: Moment) -> Result<(Task, Histogram<u64>)> {
    let clock = SystemClock;
    let mut histogram = new_histogram()?;
    let mut started = clock.now();
    for resource in task.iter().cycle() {
        resource.lock_free().await?.release().await?;
        let done = clock.now();
        if done >= end {
            break;
        }
        if done >= begin {
            histogram.saturating_record(nanoseconds(done.saturating_since(started)));
        }
        started = done;
    }
    Ok((task, histogram))
}

/// Creates a histogram of nanoseconds, with two digits.
pub(crate) fn new_histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_max(60_000_000_000, 2)?)
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
