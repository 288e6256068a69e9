//! Pairs of acquire and release of free names, side by side: in every repetition each contender has its turn, and the order
//! rotates, so that a slow minute of the machine affects all contenders.

use std::time::Duration;

use anyhow::Result;

use crate::{
    closed_loops::{ClosedLoops, Sample},
    contender::Contender,
    contenders::{self, distributed_lock, lock_service, ours, raw_etcd, raw_postgres, raw_redis, rslock_lock},
    options::Options,
    report::{Summary, Target, Throughput, median},
    servers::StoreKind,
};

const TTL: Duration = Duration::from_secs(30);

pub(crate) async fn run(kind: StoreKind, url: &str, options: &Options, summary: &mut Summary) -> Result<()> {
    let mut contenders: Vec<Box<dyn Contender>> = vec![contenders::ours(kind, url, TTL).await?];
    contenders.push(contenders::measured(kind, url, TTL).await?);
    contenders.extend(contenders::drivers(kind, url).await?);
    contenders.extend(contenders::peers(kind, url, TTL).await?);
    contenders.retain(|contender| options.wants(contender.name()));
    for &tasks in &options.tasks {
        let measured = side_by_side(kind, &contenders, tasks, options).await?;
        judge(kind, tasks, &measured, summary);
        summary.throughput.extend(measured);
    }
    Ok(())
}

async fn side_by_side(
    kind: StoreKind,
    contenders: &[Box<dyn Contender>],
    tasks: usize,
    options: &Options,
) -> Result<Vec<Throughput>> {
    let mut loops = Vec::with_capacity(contenders.len());
    for contender in contenders {
        loops.push(ClosedLoops::prepare(&**contender, tasks).await?);
    }
    let mut samples: Vec<Vec<Sample>> = contenders.iter().map(|_| Vec::new()).collect();
    for repetition in 0..options.repetitions {
        for turn in 0..contenders.len() {
            let at = (turn + repetition) % contenders.len();
            let sample = loops[at].run(options.duration()).await?;
            eprintln!(
                "{} {tasks:>3} tasks, {:<16} {:>9.0} pairs/s, p50 {:>6} µs, p99 {:>6} µs",
                kind.name(),
                contenders[at].name(),
                sample.pairs_per_second,
                sample.p50_us,
                sample.p99_us
            );
            samples[at].push(sample);
        }
    }
    Ok(contenders
        .iter()
        .zip(samples)
        .map(|(contender, samples)| Throughput {
            store: kind,
            contender: contender.name(),
            tasks,
            median_pairs_per_second: median(samples.iter().map(|sample| sample.pairs_per_second)),
            median_p50_us: median(samples.iter().map(|sample| sample.p50_us as f64)),
            median_p99_us: median(samples.iter().map(|sample| sample.p99_us as f64)),
            samples,
        })
        .collect())
}

fn judge(kind: StoreKind, tasks: usize, measured: &[Throughput], summary: &mut Summary) {
    let samples = |name| measured.iter().find(|row| row.contender == name).map(|row| &row.samples);
    let Some(ours) = samples(ours::NAME) else { return };
    for rival in measured.iter().filter(|row| row.contender != ours::NAME) {
        let ratios =
            ours.iter().zip(&rival.samples).map(|(ours, rival)| ours.pairs_per_second / rival.pairs_per_second);
        let ratio = median(ratios);
        let what = format!("ours / {}, {tasks} tasks", rival.contender);
        match target(rival.contender, tasks) {
            Some((limit, aim)) => summary.verdict(kind, what, ratio, Target::AtLeast { limit, aim }),
            // Of a pair with a server, metrics cost less than a fiftieth.
            None if rival.contender == ours::MEASURED && tasks == 1 && kind != StoreKind::Memory => {
                summary.verdict(kind, what, ratio, Target::AtMost(1.02));
            }
            None => summary.figure(("acquire", kind, ours::NAME), what, ratio, "×"),
        }
    }
}

/// The smallest acceptable ratio to this rival, and the target.
fn target(rival: &str, tasks: usize) -> Option<(f64, f64)> {
    let [one, some, many] = match rival {
        raw_postgres::NAME => [(1.0, 1.2), (2.4, 4.0), (6.5, 10.0)],
        distributed_lock::NAME => [(1.2, 1.6), (3.0, 5.0), (8.0, 12.0)],
        raw_redis::NAME => [(0.9, 1.0), (1.2, 1.6), (2.0, 3.0)],
        rslock_lock::NAME => [(0.75, 1.0), (0.8, 1.1), (1.3, 2.0)],
        raw_etcd::NAME => [(0.95, 1.0), (2.7, 4.0), (10.0, 15.0)],
        lock_service::NAME => [(1.9, 2.2), (5.0, 8.0), (19.0, 25.0)],
        _ => return None,
    };
    match tasks {
        1 => Some(one),
        32 => Some(some),
        256 => Some(many),
        _ => None,
    }
}
