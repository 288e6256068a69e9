//! The cost of many leases that one client holds in a process of its own, and whether one is lost.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use lease_core::{Clock, LeaseClient, SystemClock};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::{
    contenders::{self, ours},
    counting::CountingStore,
    options::Options,
    report::{Summary, Target},
    servers::StoreKind,
    worker::{self, Job},
};

const TTL: Duration = Duration::from_secs(10);
/// The default of the library: a third of the ttl.
const INTERVAL: Duration = Duration::from_nanos(TTL.as_nanos() as u64 / 3);

pub(crate) async fn run(kind: StoreKind, url: &str, options: &Options, summary: &mut Summary) -> Result<()> {
    let leases = match kind {
        // The store's own records are in the same process then, and counted.
        StoreKind::Memory => 100_000,
        // Each renewal is a request of its own.
        _ if kind.is_document() => 1_000,
        _ => 10_000,
    };
    let job = Job::Renewal { store: kind, url: url.to_owned(), leases, seconds: options.hold_seconds };
    let held: Held = worker::start(&job)?.finish().await?;
    let cell = ("renewal", kind, ours::NAME);
    summary.figure(cell, format!("acquiring {leases} leases"), held.acquired_in_seconds, "s");
    summary.figure(cell, format!("leases held for {} s", options.hold_seconds), held.leases as f64, "");
    let target = |what, value, limit, summary: &mut Summary| {
        summary.verdict(kind, format!("{leases} leases: {what}"), value, Target::AtMost(limit));
    };
    target("lost", held.lost as f64, 0.0, summary);
    if kind == StoreKind::Memory || kind.is_document() {
        summary.figure(cell, "calls per renewal interval", held.calls_per_interval, "");
        summary.figure(cell, "CPU", held.cpu_percent, "% of a core");
        summary.figure(cell, "memory per lease, with a store in memory", held.bytes_per_lease, "bytes");
    } else {
        target("calls per renewal interval", held.calls_per_interval, 60.0 * kind.servers(), summary);
        target("CPU, % of a core", held.cpu_percent, 10.0, summary);
        target("memory per lease, bytes", held.bytes_per_lease, 2048.0, summary);
    }
    Ok(())
}

/// The results of the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Held {
    leases: usize,
    lost: usize,
    acquired_in_seconds: f64,
    calls_per_interval: f64,
    cpu_percent: f64,
    bytes_per_lease: f64,
}

/// Runs in the worker: acquires, waits until the renewals are spread evenly, and measures.
pub(crate) async fn hold(kind: StoreKind, url: &str, leases: usize, seconds: u64) -> Result<Held> {
    let (store, counts) = CountingStore::new(contenders::store(kind, url).await?);
    let client = LeaseClient::new(store);
    // Connections and threads are not counted.
    let warm = |number| client.acquire(format!("renewal/warm/{number}"), TTL);
    stream::iter(0..256).map(warm).buffer_unordered(256).map_ok(drop).try_collect::<()>().await?;
    let clock = SystemClock;
    let memory_before = resident_bytes()?;
    let began = clock.now();
    let acquire = |number| client.acquire(format!("renewal/{number}"), TTL);
    let held: Vec<_> = stream::iter(0..leases).map(acquire).buffer_unordered(256).try_collect().await?;
    let acquired_at = clock.now();
    clock.sleep_until(acquired_at + INTERVAL * 2).await;
    let (calls, cpu, start) = (counts.renew.calls(), cpu_time(), clock.now());
    clock.sleep_until(start + Duration::from_secs(seconds)).await;
    let elapsed = clock.now().saturating_since(start).as_secs_f64();
    let intervals = elapsed / INTERVAL.as_secs_f64();
    let memory = resident_bytes()?.saturating_sub(memory_before);
    Ok(Held {
        leases,
        lost: held.iter().filter(|lease| !lease.is_held()).count(),
        acquired_in_seconds: acquired_at.saturating_since(began).as_secs_f64(),
        calls_per_interval: (counts.renew.calls() - calls) as f64 / intervals,
        cpu_percent: (cpu_time() - cpu).as_secs_f64() / elapsed * 100.0,
        bytes_per_lease: memory as f64 / leases as f64,
    })
}

/// Returns the CPU time of all threads of this process.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn resident_bytes() -> Result<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm")?
        .split(' ')
        .nth(1)
        .context("the resident pages are the second number")?
        .parse()?;
    Ok(pages * rustix::param::page_size() as u64)
}
