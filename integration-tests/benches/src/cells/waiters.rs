//! The calls of a store while a thousand tasks of one process wait for one name.

use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use lease_core::{Clock, LeaseClient, SystemClock};

use crate::{
    contenders::{self, ours},
    counting::CountingStore,
    report::{Summary, Target},
    servers::StoreKind,
};

const WAITERS: usize = 1000;
const TTL: Duration = Duration::from_secs(30);
const NAME: &str = "waiters";

pub(crate) async fn run(kind: StoreKind, url: &str, summary: &mut Summary) -> Result<()> {
    let store = contenders::store(kind, url).await?;
    let holder = LeaseClient::new(store.clone()).acquire(NAME, TTL).await?;
    let (store, counts) = CountingStore::new(store);
    let client = LeaseClient::new(store);
    let waiters: Vec<_> = (0..WAITERS)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.acquire(NAME, TTL).await?.release().await })
        })
        .collect();
    SystemClock.sleep_until(SystemClock.now() + Duration::from_secs(1)).await;
    // What it took to stand in the line is not counted.
    let attempts = || counts.acquire.requests() + counts.look.requests();
    let (calls_before, attempts_before) = (counts.calls(), attempts());
    let began = SystemClock.now();
    holder.release().await?;
    for released in try_join_all(waiters).await? {
        released?;
    }
    let seconds = SystemClock.now().saturating_since(began).as_secs_f64();
    let per_release = |count: u64| count as f64 / counts.release.requests() as f64;
    let cell = ("waiters", kind, ours::NAME);
    summary.figure(cell, "hand-overs between 1000 tasks", WAITERS as f64 / seconds, "/s");
    summary.figure(cell, "calls of the store per release", per_release(counts.calls() - calls_before), "");
    let attempts = per_release(attempts() - attempts_before);
    summary.verdict(kind, "attempts per release, 1000 waiters", attempts, Target::AtMost(2.0));
    Ok(())
}
