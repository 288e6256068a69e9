//! A primary and a standby. The primary reports that it is unwell: it steps down in order, the standby takes over, and gives
//! the work back when the primary, which is preferred, is well again.

use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use lease_core::HolderId;
use lease_election::{Candidate, CandidateOptions, Election, ElectionOptions, Health};
use lease_examples::{Arguments, pause};

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let primary = serve(&arguments, "primary", 1).await?;
    pause(Duration::from_millis(500)).await;
    let standby = serve(&arguments, "standby", 0).await?;
    pause(Duration::from_secs(1)).await;

    println!("the disk of the primary fills up");
    primary.set_health(Health::with_score(0.4).with_detail("disk", "98 % full"))?;
    pause(Duration::from_secs(2)).await;
    for candidate in primary.election().candidates().await? {
        println!("  {}: health {}, leads: {}", candidate.id, candidate.health.score(), candidate.is_leader);
    }

    println!("the disk of the primary is cleaned");
    primary.set_health(Health::healthy())?;
    pause(Duration::from_secs(4)).await;

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
