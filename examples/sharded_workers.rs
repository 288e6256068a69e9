//! Six shards over three replicas, spread evenly: each shard is an election of its own, in which one replica is preferred.
//!
//! When a replica stops, the others take its shards; when it comes back, it gets them again. All elections of a replica share one client,
//! and so one renewal task.
//!
//! Look for: two shards per replica at first, none of them without a leader after replica 0 has gone, and the first picture again at the end.
//!
//! ```console
//! cargo run --example sharded_workers
//! ```

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use clap::Parser;
use lease_core::{HolderId, LeaseClient};
use lease_election::{Candidate, CandidateOptions, Election, ElectionOptions};
use lease_examples::Arguments;
use tokio::time::sleep;

const SHARDS: usize = 6;
const REPLICAS: usize = 3;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut replicas = Vec::new();
    for number in 0..REPLICAS {
        replicas.push(replica(arguments.client().await?, number)?);
    }
    sleep(Duration::from_secs(4)).await;
    show("all replicas are there", &replicas);

    for candidate in &replicas[0] {
        candidate.stop().await?;
    }
    sleep(Duration::from_secs(1)).await;
    show("replica 0 has gone", &replicas);

    for candidate in &replicas[0] {
        candidate.start()?;
    }
    sleep(Duration::from_secs(4)).await;
    show("replica 0 is back", &replicas);

    for candidate in replicas.iter().flatten() {
        candidate.stop().await?;
    }
    Ok(())
}

/// Starts a candidate for every shard, preferred in every third one.
fn replica(client: LeaseClient, number: usize) -> Result<Vec<Candidate>> {
    let id = HolderId::new(format!("replica-{number}"))?;
    let mut candidates = Vec::new();
    for shard in 0..SHARDS {
        let options = ElectionOptions::new(Duration::from_secs(6));
        let election = Election::new(client.clone(), &format!("examples/shard-{shard}"), options)?;
        let priority = i64::from(shard % REPLICAS == number);
        let candidate = election.candidate(CandidateOptions::new().with_id(id.clone()).with_priority(priority))?;
        let working = candidate.clone();
        tokio::spawn(async move { working.lead(async |term| term.draining().await).await });
        candidates.push(candidate);
    }
    Ok(candidates)
}

fn show(when: &str, replicas: &[Vec<Candidate>]) {
    let mut shards: BTreeMap<usize, String> = BTreeMap::new();
    for candidates in replicas {
        for (shard, candidate) in candidates.iter().enumerate().filter(|(_, candidate)| candidate.is_leader()) {
            shards.insert(shard, candidate.id().to_string());
        }
    }
    println!("{when}: {shards:?}");
}
