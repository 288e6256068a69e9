//! What a lease cannot prevent, and what does.
//!
//! A writer is paused in the middle of a write. Its lease expires, another writer takes over, and then the first one completes its write.
//! The resource refuses that write, because its fencing token is smaller than the largest that it has seen.
//!
//! Look for: the last write, "late", is refused.
//!
//! ```console
//! cargo run --example fenced_writes
//! ```

use std::{sync::Mutex, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use lease_core::{FencingToken, LeaseOptions, Renewal};
use lease_examples::Arguments;

/// A resource that remembers the largest token that it has seen, and refuses smaller ones. In SQL:
/// `UPDATE … SET value = $1, fence = $2 WHERE id = $3 AND fence <= $2`.
#[derive(Default)]
struct Resource(Mutex<Option<(FencingToken, &'static str)>>);

impl Resource {
    fn write(&self, token: FencingToken, value: &'static str) -> bool {
        let Ok(mut last) = self.0.lock() else { return false };
        let accepted = last.is_none_or(|(largest, _)| largest <= token);
        if accepted {
            *last = Some((token, value));
        }
        println!("token {token} writes {value:?}: {}", if accepted { "accepted" } else { "refused" });
        accepted
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let resource = Resource::default();
    // The lease is not renewed, as if this process were paused from here on.
    let ttl = LeaseOptions::new(Duration::from_secs(2)).with_renewal(Renewal::Manual);

    let paused = arguments
        .client()
        .await?
        .try_acquire("examples/fenced", ttl.clone())
        .await?
        .acquired()
        .context("it is held")?;
    ensure!(resource.write(paused.token(), "first"));

    let successor = arguments.client().await?.acquire("examples/fenced", ttl).await?;
    ensure!(resource.write(successor.token(), "second"));

    println!("the first writer wakes up; is_held() = {}", paused.is_held());
    ensure!(!resource.write(paused.token(), "late"), "a stale write was accepted");
    successor.release().await?;
    Ok(())
}
