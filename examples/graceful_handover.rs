//! A deployment: the old version hands its leadership to the new one by name, after its work has ended.
//!
//! Look for: version 1.0 finishes before version 2.0 leads, and version 0.9, which has waited for longer, is passed over.
//!
//! ```console
//! cargo run --example graceful_handover
//! ```

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use lease_core::{HolderId, Metadata};
use lease_election::{Candidate, CandidateOptions, Election, ElectionOptions};
use lease_examples::Arguments;
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let old = start(&arguments, "1.0").await?;
    sleep(Duration::from_secs(1)).await;
    // Another candidate waits, too. The hand-over does not go to it.
    let _bystander = start(&arguments, "0.9").await?;
    let new = start(&arguments, "2.0").await?;
    sleep(Duration::from_secs(1)).await;

    println!("version 1.0 hands over to version 2.0");
    old.hand_over_to(new.id().clone()).await?;
    sleep(Duration::from_millis(500)).await;
    let leader = new.current_leader().await?.context("nobody leads")?;
    println!("the leader is version {}, term {}", leader.metadata.get("version").unwrap_or("?"), leader.term);
    old.stop().await?;
    new.stop().await?;
    Ok(())
}

async fn start(arguments: &Arguments, version: &'static str) -> Result<Candidate> {
    let options = ElectionOptions::new(Duration::from_secs(6));
    let election = Election::new(arguments.client().await?, "examples/handover", options)?;
    let id = HolderId::new(format!("version-{version}"))?;
    let metadata = Metadata::new([("version", version)])?;
    let candidate = election.candidate(CandidateOptions::new().with_id(id).with_metadata(metadata))?;
    let working = candidate.clone();
    tokio::spawn(async move {
        working
            .lead(async |term| {
                println!("version {version} leads, term {}", term.token());
                term.draining().await;
                // Clean-up work, within the grace period of the election.
                sleep(Duration::from_millis(300)).await;
                println!("version {version} has finished");
            })
            .await;
    });
    Ok(candidate)
}
