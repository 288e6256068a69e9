//! Replicas elect a leader, the leader does what only one of them may do, and every two seconds it gives the others a turn.
//!
//! It ends after `--seconds`, or at Ctrl-C: each candidate then gives up its leadership in order, so that nobody waits for it to expire.
//!
//! Look for: a term begins only after the previous leader's has ended, terms rise, and the observer prints who leads.
//!
//! ```console
//! cargo run --example leader_election
//! # In several terminals, one replica in each:
//! cargo run --example leader_election --features postgres -- --store postgres://… --replicas 1 --seconds 60
//! ```

use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use lease_core::HolderId;
use lease_election::{CandidateOptions, Election, ElectionOptions, LeadershipStream, Term};
use lease_examples::Arguments;
use tokio::{signal::ctrl_c, time::sleep};
use tokio_stream::StreamExt;

#[derive(Parser)]
struct Setting {
    #[command(flatten)]
    store: Arguments,
    /// How many replicas run in this process.
    #[arg(long, default_value_t = 3)]
    replicas: u32,
    /// How long they run.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let setting = Setting::parse();
    let options = ElectionOptions::new(Duration::from_secs(6));

    // An observer sees each change of the leader, and never campaigns.
    let observer = Election::new(setting.store.client().await?, "examples/dispatcher", options.clone())?;
    let mut transitions = Box::pin(observer.changes()?.on_transition());
    tokio::spawn(async move {
        while let Some(Ok((_, to))) = transitions.next().await {
            println!("observer: the leader is {}", to.map_or("nobody".to_owned(), |leader| leader.id.to_string()));
        }
    });

    let mut candidates = Vec::new();
    for number in 1..=setting.replicas {
        let client = setting.store.client().await?;
        let id = HolderId::new(format!("replica-{number} of {}", client.holder()))?;
        let election = Election::new(client, "examples/dispatcher", options.clone())?;
        let candidate = election.candidate(CandidateOptions::new().with_id(id))?;
        let working = candidate.clone();
        tokio::spawn(async move { working.lead(dispatch).await });
        candidates.push(candidate);
    }
    tokio::select! {
        () = sleep(Duration::from_secs(setting.seconds)) => {}
        signal = ctrl_c() => signal?,
    }
    for candidate in candidates {
        candidate.stop().await?;
    }
    Ok(())
}

/// What only the leader does. It is dropped when the leadership is lost; `draining` completes when the leader is about to step down.
async fn dispatch(term: Term) {
    println!("{} leads, term {}", term.lease().holder(), term.token());
    // When the work ends, the candidate gives up its leadership, and another one has a turn.
    tokio::select! {
        () = sleep(Duration::from_secs(2)) => {}
        () = term.draining() => println!("{} winds up", term.lease().holder()),
    }
}
