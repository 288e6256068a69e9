//! A deployment: the old version hands its leadership to the new one by name, after its work has come to an end.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use lease_core::{HolderId, Metadata};
use lease_election::{Candidate, CandidateOptions, Election, ElectionOptions};
use lease_examples::{Arguments, pause};

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let old = start(&arguments, "1.0").await?;
    pause(Duration::from_secs(1)).await;
    // Somebody else waits, too; the hand-over passes it by.
    let _bystander = start(&arguments, "0.9").await?;
    let new = start(&arguments, "2.0").await?;
    pause(Duration::from_secs(1)).await;

    println!("version 1.0 hands over to version 2.0");
    old.hand_over_to(new.id().clone()).await?;
    pause(Duration::from_millis(500)).await;
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
                // Within the grace of the election.
                pause(Duration::from_millis(300)).await;
                println!("version {version} has finished");
            })
            .await;
    });
    Ok(candidate)
}
