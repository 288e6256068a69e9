//! A scope of exclusive work: it is dropped the moment its lease is lost, and has ended before the lease is released.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use lease_core::{Break, Clock, ErrorKind, LeaseHandle, SystemClock};
use lease_examples::Arguments;

const NAME: &str = "examples/migration";
const TTL: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let client = arguments.client().await?;

    let answer = client.run(NAME, TTL, |lease| steps(lease, 3)).await?;
    println!("the first scope is done: {answer} steps");

    // An administrator, somewhere else, ends the second one. The holder learns it at its next renewal at the latest.
    let administrator = arguments.client().await?;
    let second = tokio::spawn(async move { client.run(NAME, TTL, |lease| steps(lease, 100)).await });
    SystemClock.sleep_until(SystemClock.now() + Duration::from_millis(1200)).await;
    let record = administrator.inspect(NAME).await?.context("nobody holds the lease")?;
    println!("the administrator breaks the lease of {} with token {}", record.holder, record.token);
    administrator.break_lease(NAME, record.token, Break::Now).await?;
    match second.await? {
        Ok(_) => anyhow::bail!("the second scope ran to its end"),
        Err(error) if error.kind() == ErrorKind::Lost => println!("the second scope was dropped: {error}"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn steps(lease: LeaseHandle, steps: u32) -> u32 {
    for step in 1..=steps {
        println!("  step {step} with token {}, held for another {:.1?} at least", lease.token(), lease.remaining());
        SystemClock.sleep_until(SystemClock.now() + Duration::from_millis(500)).await;
    }
    steps
}
