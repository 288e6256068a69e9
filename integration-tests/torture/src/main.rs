//! The command line of the torture test.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use torture::{Fault, Store, case::Case, record::Sabotage, resource, worker};

/// Worker processes contend for leases through a real store, while a nemesis does harm from a printed seed.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs cases, and judges them.
    Run(Run),
    /// Contends for leases. Started by `run`.
    #[command(hide = true)]
    Worker,
    /// Is the fenced resource. Started by `run`.
    #[command(hide = true)]
    Resource,
}

#[derive(Debug, Parser)]
struct Run {
    /// Which store; all by default.
    #[arg(long)]
    store: Vec<Store>,
    /// What is done to it; all that can be by default.
    #[arg(long)]
    fault: Vec<Fault>,
    /// A bug to be built in on purpose, which must be caught.
    #[arg(long)]
    sabotage: Option<Sabotage>,
    /// From which the faults are drawn; random by default.
    #[arg(long)]
    seed: Option<u64>,
    /// How long the faults of one case go on.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    time: Duration,
    /// Where the record and the report go.
    #[arg(long, default_value = "target/torture")]
    out: PathBuf,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Run(run) => run.run().await,
        Command::Worker => worker::run().await,
        Command::Resource => resource::run().await,
    }
}

impl Run {
    async fn run(self) -> Result<()> {
        let stores = if self.store.is_empty() { Store::value_variants() } else { &self.store };
        for &store in stores {
            let faults = if self.fault.is_empty() { Fault::all_of(store) } else { self.fault.clone() };
            for fault in faults {
                let seed = self.seed.unwrap_or_else(rand::random);
                let case = Case { store, fault, sabotage: self.sabotage, seed, time: self.time };
                println!("{}", case.name());
                let directory = case.run(&self.out).await?;
                println!("  {}", directory.display());
            }
        }
        Ok(())
    }
}
