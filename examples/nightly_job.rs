//! A job that runs once, although every replica starts it: the first one runs it, the others skip it.
//!
//! The name stays blocked for a minute after the start of the job, so that a replica whose clock is late does not run a quick job again.
//!
//! Look for: one replica writes the report, two skip it, also the one that starts after the job is done. A second run within the minute
//! skips it three times, if the store is on a server.
//!
//! ```console
//! cargo run --example nightly_job
//! ```

use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use lease_core::{LeaseClient, LeaseOptions};
use lease_examples::Arguments;
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // Three replicas whose clocks differ by 300 ms. In a service each of them is a process.
    let mut replicas = Vec::new();
    for number in 1..=3 {
        let client = arguments.client().await?;
        replicas.push(tokio::spawn(async move {
            sleep(Duration::from_millis(300) * number).await;
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
        None => println!("replica {replica} skips the report: another replica runs it, or has just done so"),
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
    sleep(Duration::from_millis(50)).await;
}
