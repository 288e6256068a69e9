//! The time from the expiry of a crashed holder, which neither renews nor releases, to the grant to a waiter.
//!
//! The expiry counts from before the holder's request was sent, so the time is never too short.

use std::time::Duration;

use anyhow::{Result, bail};
use futures::future::try_join_all;
use lease_core::{Clock, SystemClock};

use crate::{
    closed_loops::{nanoseconds, new_histogram},
    contender::Resource,
    contenders::{self, advisory_lock, ash_lock_client, consul_lock, curator_lock, distkit_lock, lock_service, ours},
    options::Options,
    report::{Summary, Target},
    servers::StoreKind,
};

const CRASHES: usize = 30;

pub(crate) async fn run(kind: StoreKind, url: &str, options: &Options, summary: &mut Summary) -> Result<()> {
    // The smallest that etcd has.
    let ttl = Duration::from_secs(2);
    for [holder, waiter] in contenders::pairs(kind, url, ttl).await? {
        // The guards of the first two release when they are dropped, a session that lives never expires, the waiter of a lock
        // service expires itself while it waits, and no session of Consul ends within twenty seconds.
        let cannot_crash = [
            distkit_lock::NAME,
            ash_lock_client::NAME,
            advisory_lock::NAME,
            curator_lock::NAME,
            lock_service::NAME,
            consul_lock::NAME,
        ];
        let cannot_crash = cannot_crash.contains(&holder.name());
        if cannot_crash || !options.wants(holder.name()) {
            continue;
        }
        let mut crashes = Vec::with_capacity(CRASHES);
        for number in 0..CRASHES {
            let name = format!("take-over/{number}");
            let (holder, waiter) = (holder.resource(&name).await?, waiter.resource(&name).await?);
            crashes.push(tokio::spawn(crash(holder, waiter, ttl, Duration::from_millis(number as u64 * 41))));
        }
        let mut histogram = new_histogram()?;
        for late in try_join_all(crashes).await? {
            histogram.saturating_record(nanoseconds(late?));
        }
        let millis = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
        let cell = ("take-over", kind, holder.name());
        summary.figure(cell, "beyond the expiry, p50", millis(0.5), "ms");
        summary.figure(cell, "beyond the expiry, the longest", millis(1.0), "ms");
        // etcd elects, and documents wait for the slack of clocks.
        if holder.name() == ours::NAME && kind != StoreKind::Etcd && !kind.is_document() {
            summary.verdict(kind, "take-over beyond the expiry, the longest, ms", millis(1.0), Target::AtMost(50.0));
        }
    }
    Ok(())
}

async fn crash(
    holder: Box<dyn Resource>,
    waiter: Box<dyn Resource>,
    ttl: Duration,
    after: Duration,
) -> Result<Duration> {
    SystemClock.sleep_until(SystemClock.now() + after).await;
    let expires_at = SystemClock.now() + ttl;
    holder.lock_free().await?.crash().await?;
    let held = tokio::select! {
        held = waiter.lock() => held?,
        () = SystemClock.sleep_until(expires_at + Duration::from_secs(20)) => bail!("the waiter did not take over within 20 s"),
    };
    let acquired_at = SystemClock.now();
    held.release().await?;
    Ok(acquired_at.saturating_since(expires_at))
}
