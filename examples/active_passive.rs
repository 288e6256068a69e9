//! A primary and a standby with health and priorities.
//!
//! The primary reports poor health and steps down in order; the standby takes over. When the primary is healthy again, the standby gives
//! the leadership back, because the primary has the higher priority.
//!
//! Look for: "primary finishes what it began" comes before "standby serves", and the terms rise.
//!
//! ```console
//! cargo run --example active_passive
//! ```

use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use lease_core::HolderId;
use lease_election::{Candidate, CandidateOptions, Election, ElectionOptions, Health};
use lease_examples::Arguments;
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let primary = serve(&arguments, "primary", 1).await?;
    sleep(Duration::from_millis(500)).await;
    let standby = serve(&arguments, "standby", 0).await?;
    sleep(Duration::from_secs(1)).await;

    println!("the disk of the primary fills up");
    primary.set_health(Health::with_score(0.4).with_detail("disk", "98 % full"))?;
    sleep(Duration::from_secs(2)).await;
    for candidate in primary.election().candidates().await? {
        println!("  {}: health {}, leads: {}", candidate.id, candidate.health.score(), candidate.is_leader);
    }

    println!("the disk of the primary is cleaned");
    primary.set_health(Health::healthy())?;
    sleep(Duration::from_secs(4)).await;

    standby.stop().await?;
    primary.stop().await?;
    Ok(())
}

async fn serve(arguments: &Arguments, name: &'static str, priority: i64) -> Result<Candidate> {
    let options = ElectionOptions::new(Duration::from_secs(6));
    let election = Election::new(arguments.client().await?, "examples/active-passive", options)?;
    let candidate =
        election.candidate(CandidateOptions::new().with_id(HolderId::new(name)?).with_priority(priority))?;
    let working = candidate.clone();
    tokio::spawn(async move {
        working
            .lead(async |term| {
                println!("{name} serves, term {}", term.token());
                term.draining().await;
                println!("{name} finishes what it began");
            })
            .await;
    });
    Ok(candidate)
}
