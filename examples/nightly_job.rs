//! A job that runs once, though every replica starts it: whoever comes first runs it, the others skip it.
//!
//! The lease is held for at least a minute, so that a replica whose clock is late does not run the job again after a
//! quick run.

use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use lease_core::{Clock, LeaseClient, LeaseOptions, SystemClock};
use lease_examples::Arguments;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // Three replicas whose clocks differ by 300 ms. In a real service each of them is a process.
    let mut replicas = Vec::new();
    for number in 1..=3 {
        let client = arguments.client().await?;
        replicas.push(tokio::spawn(async move {
            SystemClock.sleep_until(SystemClock.now() + Duration::from_millis(300) * number).await;
            nightly(&client, number).await
        }));
    }
    for replica in replicas {
        replica.await??;
    }
    Ok(())
}

async fn nightly(client: &LeaseClient, replica: u32) -> Result<()> {
    let options = LeaseOptions::new(Duration::from_secs(10)).with_hold_at_least(Duration::from_secs(60));
    match client.try_acquire("examples/nightly-report", options).await?.acquired() {
        None => println!("replica {replica} skips the report: somebody runs it, or has just done so"),
        Some(lease) => {
            println!("replica {replica} writes the report, token {}", lease.token());
            lease.while_held(report()).await?;
            lease.release().await?;
            println!("replica {replica} is done; the name stays blocked for the rest of the minute");
        }
    }
    Ok(())
}

/// Takes 50 ms.
async fn report() {
    SystemClock.sleep_until(SystemClock.now() + Duration::from_millis(50)).await;
}
