//! The local calls of a holder, which do no I/O.

use std::{hint::black_box, time::Duration};

use anyhow::Result;
use lease_core::{Clock, Lease, LeaseClient, SystemClock};
use lease_memory::MemoryStore;

use crate::{
    contenders::ours,
    options::Options,
    report::{Summary, Target, median},
    servers::StoreKind,
};

const QUESTIONS: u32 = 2_000_000;

pub(crate) async fn run(options: &Options, summary: &mut Summary) -> Result<()> {
    let lease = LeaseClient::new(MemoryStore::new()).acquire("local", Duration::from_secs(60)).await?;
    let held = median((0..options.repetitions).map(|_| nanoseconds_each(&lease, |lease| lease.is_held())));
    let left = median((0..options.repetitions).map(|_| nanoseconds_each(&lease, |lease| lease.remaining())));
    summary.verdict(StoreKind::Memory, "is_held(), ns", held, Target::AtMost(60.0));
    summary.figure(("local", StoreKind::Memory, ours::NAME), "remaining()", left, "ns");
    lease.release().await?;
    Ok(())
}

fn nanoseconds_each<T>(lease: &Lease, ask: impl Fn(&Lease) -> T) -> f64 {
    let began = SystemClock.now();
    for _ in 0..QUESTIONS {
        black_box(ask(black_box(lease)));
    }
    SystemClock.now().saturating_since(began).as_nanos() as f64 / f64::from(QUESTIONS)
}
