//! Eight processes contend for one name without pauses.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use lease_core::{Clock, LeaseClient, Moment, SystemClock};
use serde::{Deserialize, Serialize};

use crate::{
    contender::Contender,
    contenders::{self, advisory_lock, ours, ours::Ours},
    counting::CountingStore,
    options::Options,
    report::Summary,
    servers::StoreKind,
    worker::{self, Job},
};

const PROCESSES: usize = 8;
const TTL: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(3);

pub(crate) async fn run(kind: StoreKind, url: &str, options: &Options, summary: &mut Summary) -> Result<()> {
    if kind == StoreKind::Memory {
        return Ok(());
    }
    for contender in contenders::all(kind, url, TTL).await? {
        let name = contender.name();
        if name == advisory_lock::NAME || !options.wants(name) {
            continue;
        }
        let job = Job::Contention { store: kind, url: url.to_owned(), contender: name.to_owned() };
        let mut workers = Vec::with_capacity(PROCESSES);
        for _ in 0..PROCESSES {
            workers.push(worker::start(&job)?);
        }
        for worker in &mut workers {
            worker.is_ready().await?;
        }
        let seen: Vec<Seen> = try_join_all(workers.into_iter().map(|worker| worker.finish())).await?;
        tell(("contention", kind, name), &seen, summary);
    }
    Ok(())
}

fn tell(cell: (&'static str, StoreKind, &'static str), seen: &[Seen], summary: &mut Summary) {
    let mut turns: Vec<(u128, usize)> = Vec::new();
    for (process, seen) in seen.iter().enumerate() {
        turns.extend(seen.acquired_at_ns.iter().map(|at| (*at, process)));
    }
    turns.sort_unstable();
    let changes = turns.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    let counts: Vec<f64> = seen.iter().map(|seen| seen.acquired_at_ns.len() as f64).collect();
    let (sum, squares) = (counts.iter().sum::<f64>(), counts.iter().map(|count| count * count).sum::<f64>());
    let seconds = LIMIT.as_secs_f64();
    summary.figure(cell, "acquired, all 8 processes", sum / seconds, "/s");
    summary.figure(cell, "hand-overs from process to process", changes as f64 / seconds, "/s");
    summary.figure(cell, "fairness (Jain; 1: all the same, 0.125: one only)", sum * sum / (8.0 * squares), "");
    summary.figure(cell, "errors", seen.iter().map(|seen| seen.errors as f64).sum(), "");
    let calls: u64 = seen.iter().filter_map(|seen| seen.calls).sum();
    if calls > 0 {
        summary.figure(cell, "calls of the store per acquired", calls as f64 / sum, "");
    }
}

/// The results of one worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Moments of the clock that all processes share.
    acquired_at_ns: Vec<u128>,
    /// The number of errors. After an error the name is free again after the ttl at the latest.
    errors: u64,
    calls: Option<u64>,
}

/// Runs in the worker: locks and releases one name repeatedly.
pub(crate) async fn contend(kind: StoreKind, url: &str, contender: &str) -> Result<Seen> {
    let mut counts = None;
    let contender: Box<dyn Contender> = if contender == ours::NAME {
        let (store, counting) = CountingStore::new(contenders::store(kind, url).await?);
        counts = Some(counting);
        Box::new(Ours::new(LeaseClient::new(store), TTL))
    } else {
        let all = contenders::peers(kind, url, TTL).await?;
        all.into_iter().find(|peer| peer.name() == contender).context("no contender of this name")?
    };
    let resource = contender.resource("contention").await?;
    worker::wait_for_go().await?;
    let mut acquired_at: Vec<Moment> = Vec::new();
    let mut errors = 0;
    let end = SystemClock.now() + LIMIT;
    loop {
        let held = tokio::select! {
            held = resource.lock() => held,
            () = SystemClock.sleep_until(end) => break,
        };
        let done = match held {
            Ok(held) => {
                acquired_at.push(SystemClock.now());
                held.release().await
            }
            Err(error) => Err(error),
        };
        errors += u64::from(done.is_err());
        if SystemClock.now() >= end {
            break;
        }
    }
    let acquired_at_ns = acquired_at.into_iter().map(|at| at.since_origin().as_nanos()).collect();
    Ok(Seen { acquired_at_ns, errors, calls: counts.map(|counts| counts.calls()) })
}
