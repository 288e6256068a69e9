//! A scope of exclusive work: `LeaseClient::run` drops the work when its lease is lost, and releases the lease only after the work has ended.
//!
//! The first scope runs to its end. An administrator breaks the lease of the second one.
//!
//! Look for: the steps of the second scope stop at once after the holder's next renewal, and its `run` returns an error of the kind `Lost`.
//!
//! ```console
//! cargo run --example exclusive_scope
//! ```

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use lease_core::{Break, ErrorKind, LeaseHandle};
use lease_examples::Arguments;
use tokio::time::sleep;

const NAME: &str = "examples/migration";
const TTL: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let client = arguments.client().await?;

    let answer = client.run(NAME, TTL, |lease| steps(lease, 3)).await?;
    println!("the first scope is done: {answer} steps");

    // An administrator in another process breaks the lease of the second one. Its holder notices at the next renewal.
    let administrator = arguments.client().await?;
    let second = tokio::spawn(async move { client.run(NAME, TTL, |lease| steps(lease, 100)).await });
    sleep(Duration::from_millis(1200)).await;
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
        sleep(Duration::from_millis(500)).await;
    }
    steps
}
