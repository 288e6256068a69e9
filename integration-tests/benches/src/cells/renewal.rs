//! The cost of many leases that one client holds in a process of its own, and whether one is lost.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use lease_core::{Clock, LeaseClient, LeaseStore, SystemClock};
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

/// The default of the library.
const INTERVALS_PER_TTL: u32 = 3;
const PREFIX: &str = "renewal/held/";
const PAGE: usize = 1_000;

pub(crate) async fn run(kind: StoreKind, url: &str, options: &Options, summary: &mut Summary) -> Result<()> {
    let leases = options.leases.unwrap_or(match kind {
        // The store's own records are in the same process then, and counted.
        StoreKind::Memory => 100_000,
        // Each renewal is a request of its own.
        _ if kind.is_document() => 1_000,
        _ => 10_000,
    });
    let (ttl, held_for) = (Duration::from_secs(options.ttl_seconds), Duration::from_secs(options.hold_seconds));
    let job = Job::Renewal { store: kind, url: url.to_owned(), leases, ttl, held_for };
    let held: Held = worker::start(&job)?.finish().await?;
    let cell = ("renewal", kind, ours::NAME);
    summary.figure(cell, format!("acquiring {leases} leases"), held.acquired_in_seconds, "s");
    summary.figure(cell, format!("leases held for {} s", options.hold_seconds), held.leases as f64, "");
    let target = |what, value, limit, summary: &mut Summary| {
        summary.verdict(kind, format!("{leases} leases: {what}"), value, Target::AtMost(limit));
    };
    target("lost", held.lost as f64, 0.0, summary);
    summary.figure(cell, "closing the client", held.closed_in_seconds, "s");
    target("held after it was closed", held.left_held as f64, 0.0, summary);
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
    closed_in_seconds: f64,
    left_held: usize,
}

/// Runs in the worker: acquires, waits until the renewals are spread evenly, measures, and closes the client.
pub(crate) async fn hold(kind: StoreKind, url: &str, leases: usize, ttl: Duration, held_for: Duration) -> Result<Held> {
    let store = contenders::store(kind, url).await?;
    let (counting, counts) = CountingStore::new(store.clone());
    let client = LeaseClient::new(counting);
    // Connections and threads are not counted.
    let warm = |number| client.acquire(format!("renewal/warm/{number}"), ttl);
    stream::iter(0..256).map(warm).buffer_unordered(256).map_ok(drop).try_collect::<()>().await?;
    let clock = SystemClock;
    let memory_before = resident_bytes()?;
    let began = clock.now();
    let acquire = |number| client.acquire(format!("{PREFIX}{number}"), ttl);
    let held: Vec<_> = stream::iter(0..leases).map(acquire).buffer_unordered(256).try_collect().await?;
    let acquired_at = clock.now();
    let interval = ttl / INTERVALS_PER_TTL;
    clock.sleep_until(acquired_at + interval * 2).await;
    let (calls, cpu, start) = (counts.renew.calls(), cpu_time(), clock.now());
    clock.sleep_until(start + held_for).await;
    let elapsed = clock.now().saturating_since(start).as_secs_f64();
    let calls = counts.renew.calls() - calls;
    let cpu = cpu_time() - cpu;
    let memory = resident_bytes()?.saturating_sub(memory_before);
    let lost = held.iter().filter(|lease| !lease.is_held()).count();
    let closing = clock.now();
    client.close().await?;
    Ok(Held {
        leases,
        lost,
        acquired_in_seconds: acquired_at.saturating_since(began).as_secs_f64(),
        calls_per_interval: calls as f64 * interval.as_secs_f64() / elapsed,
        cpu_percent: cpu.as_secs_f64() / elapsed * 100.0,
        bytes_per_lease: memory as f64 / leases as f64,
        closed_in_seconds: clock.now().saturating_since(closing).as_secs_f64(),
        left_held: still_held(&*store).await?,
    })
}

/// Returns how many of the leases the store shows as held.
async fn still_held(store: &dyn LeaseStore) -> Result<usize> {
    let (mut count, mut after) = (0, None);
    loop {
        let page = store.list(PREFIX, after.as_ref(), PAGE).await?;
        count += page.len();
        if page.len() < PAGE {
            return Ok(count);
        }
        after = page.into_iter().next_back().map(|record| record.name);
    }
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
