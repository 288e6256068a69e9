//! The time from the release of one client to the grant to another one that waits. The raw round trip beside it is one acquire by the driver alone.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use lease_core::{Clock, Moment, SystemClock};

use crate::{
    closed_loops::{nanoseconds, new_histogram},
    contender::{Contender, Resource},
    contenders::{self, ours},
    options::Options,
    report::{Summary, Target},
    servers::StoreKind,
};

const TTL: Duration = Duration::from_secs(30);

/// Other libraries poll for tenths of a second: fewer rounds are sufficient.
const ROUNDS_PER_ROUND_OF_OTHERS: usize = 5;

pub(crate) async fn run(kind: StoreKind, url: &str, options: &Options, summary: &mut Summary) -> Result<()> {
    let raw = match contenders::drivers(kind, url).await?.first() {
        Some(raw) => Some(raw.resource("hand-over").await?),
        None => None,
    };
    let mut round_trip = new_histogram()?;
    let mut measured = Vec::new();
    for [giver, taker] in contenders::pairs(kind, url, TTL).await? {
        if options.wants(giver.name()) {
            measured.push((HandOver::new(&*giver, &*taker).await?, giver, taker, new_histogram()?));
        }
    }
    for round in 0..options.rounds {
        if let Some(raw) = &raw {
            let began = SystemClock.now();
            let held = raw.lock_free().await?;
            round_trip.saturating_record(nanoseconds(SystemClock.now().saturating_since(began)));
            held.release().await?;
        }
        for (hand_over, giver, _, histogram) in &mut measured {
            if giver.name() == ours::NAME || round % ROUNDS_PER_ROUND_OF_OTHERS == 0 {
                histogram.saturating_record(nanoseconds(hand_over.once(round).await?));
            }
        }
    }
    let micros = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    if raw.is_some() {
        summary.figure(("hand-over", kind, "raw"), "raw round trip, p50", micros(&round_trip, 0.5), "µs");
    }
    for (_, contender, _, histogram) in &measured {
        let cell = ("hand-over", kind, contender.name());
        summary.figure(cell, "release to acquired, p50", micros(histogram, 0.5), "µs");
        summary.figure(cell, "release to acquired, p99", micros(histogram, 0.99), "µs");
        if contender.name() == ours::NAME && kind.has_push() {
            if raw.is_some() {
                let ratio = micros(histogram, 0.5) / micros(&round_trip, 0.5);
                let most = if kind.is_document() { 5.0 } else { 3.0 };
                summary.verdict(kind, "hand-over p50 in raw round trips", ratio, Target::AtMost(most));
            }
            summary.verdict(kind, "hand-over p99, ms", micros(histogram, 0.99) / 1000.0, Target::AtMost(10.0));
        }
    }
    Ok(())
}

struct HandOver {
    giver: Box<dyn Resource>,
    taker: Option<Box<dyn Resource>>,
}

impl HandOver {
    async fn new(giver: &dyn Contender, taker: &dyn Contender) -> Result<Self> {
        Ok(Self { giver: giver.resource("hand-over").await?, taker: Some(taker.resource("hand-over").await?) })
    }

    async fn once(&mut self, round: usize) -> Result<Duration> {
        let held = self.giver.lock_free().await?;
        let taker = self.taker.take();
        let waiting = tokio::spawn(async move {
            let mut acquired_at = Moment::from_origin(Duration::ZERO);
            if let Some(taker) = &taker {
                let held = taker.lock().await?;
                acquired_at = SystemClock.now();
                held.release().await?;
            }
            anyhow::Ok((taker, acquired_at))
        });
        // Long enough for the waiter to queue, and not in step with waiters that poll.
        let wait = Duration::from_millis(20 + (round as u64 * 37) % 50);
        SystemClock.sleep_until(SystemClock.now() + wait).await;
        let released_at = SystemClock.now();
        held.release().await?;
        let (taker, acquired_at) = waiting.await??;
        self.taker = taker;
        Ok(acquired_at.saturating_since(released_at))
    }
}
