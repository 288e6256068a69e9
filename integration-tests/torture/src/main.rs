//! The command line of the torture test.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use lease_core::{Clock, SystemClock};
use torture::{Fault, Store, case::Case, check, race, record::Sabotage, report, resource, worker};

/// Worker processes contend for leases of a real store, while a nemesis injects faults from a printed seed. Each process records
/// its observations; a checker judges the record.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs cases and judges them.
    Run(Run),
    /// Judges a recorded case.
    Check {
        /// The directory of the case.
        case: PathBuf,
    },
    /// Judges a recorded run and writes its report.
    Report {
        /// The directory of the run, with one directory for each case.
        run: PathBuf,
    },
    /// Lets many racers want a name at the same moment, and counts the winners.
    Race(race::Race),
    /// Contends for leases. Started by `run`.
    #[command(hide = true)]
    Worker,
    /// Serves as the fenced resource. Started by `run`.
    #[command(hide = true)]
    Resource,
    /// Races. Started by `race`.
    #[command(hide = true)]
    Racers,
}

#[derive(Debug, Parser)]
struct Run {
    /// The stores; by default PostgreSQL, Redis, a Redis Cluster and etcd.
    #[arg(long)]
    store: Vec<Store>,
    /// The faults, one case each; by default all that apply to the store.
    #[arg(long)]
    fault: Vec<Fault>,
    /// A defect to inject, which must be caught. Without `--fault`, under the fault that exposes it.
    #[arg(long)]
    sabotage: Vec<Sabotage>,
    /// The seed from which the faults are drawn; random by default. It is in the report.
    #[arg(long)]
    seed: Option<u64>,
    /// The length of the time with faults in one case, in ttls, which are one second, and two with etcd.
    #[arg(long, default_value = "4")]
    length: f64,
    /// Repeats the run with other seeds until this time has passed or a case fails.
    #[arg(long, conflicts_with = "seed", value_parser = humantime::parse_duration)]
    soak: Option<Duration>,
    /// The directory of the records and the report. Existing ones are replaced.
    #[arg(long, default_value = "target/torture")]
    out: PathBuf,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let passed = match Arguments::parse().command {
        Command::Run(run) => run.run().await?,
        Command::Check { case } => {
            let verdict = check::judge(&case)?;
            println!("{}", report::text(std::slice::from_ref(&verdict)));
            verdict.passed()
        }
        Command::Report { run } => write_report(&run)?,
        Command::Race(race) => race.run().await.map(|()| true)?,
        Command::Racers => race::run().await.map(|()| true)?,
        Command::Worker => worker::run().await.map(|()| true)?,
        Command::Resource => resource::run().await.map(|()| true)?,
    };
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Run {
    /// Returns whether all cases passed.
    async fn run(self) -> Result<bool> {
        let began = SystemClock.now();
        loop {
            remove_cases(&self.out)?;
            let mut passed = true;
            for case in self.cases() {
                passed &= self.run_case(&case).await;
            }
            passed &= write_report(&self.out)?;
            let is_over = self.soak.is_none_or(|soak| SystemClock.now().saturating_since(began) >= soak);
            if is_over || !passed {
                return Ok(passed);
            }
        }
    }

    fn cases(&self) -> Vec<Case> {
        let stores = if self.store.is_empty() { &Store::DEFAULT[..] } else { &self.store };
        let case = |store, fault, sabotage: Option<Sabotage>| {
            let seed = self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
            // A defect needs an occasion to have an effect.
            let length = if sabotage.is_some() { self.length * 3.0 } else { self.length };
            Case { store, fault, sabotage, seed, length }
        };
        let faults_of = |store| if self.fault.is_empty() { Fault::all_of(store) } else { self.fault.clone() };
        let exposed_by = |sabotage| self.fault.first().copied().unwrap_or_else(|| Fault::that_exposes(sabotage));
        let mut cases = Vec::new();
        for &store in stores {
            if self.sabotage.is_empty() {
                cases.extend(faults_of(store).into_iter().map(|fault| case(store, fault, None)));
            }
            cases.extend(self.sabotage.iter().map(|&sabotage| case(store, exposed_by(sabotage), Some(sabotage))));
        }
        if self.store.is_empty() && self.fault.is_empty() && self.sabotage.is_empty() {
            // Without negative controls the other cases prove nothing (C8). One store is enough for them.
            let controls = Sabotage::value_variants().iter();
            cases.extend(controls.map(|&sabotage| case(Store::Redis, Fault::that_exposes(sabotage), Some(sabotage))));
        }
        cases
    }

    /// Returns whether the case could be run. The report has the verdict.
    async fn run_case(&self, case: &Case) -> bool {
        println!("{}", case.name());
        match case.run(&self.out).await {
            Ok(_) => true,
            Err(error) => {
                println!("  could not be run: {error:#}");
                false
            }
        }
    }
}

/// Writes the report, and returns whether all cases passed.
fn write_report(run: &Path) -> Result<bool> {
    let report = report::write(run)?;
    println!("{}\n{}", report::text(&report.verdicts), report.page.display());
    Ok(report.passed())
}

/// Removes the cases of the previous run, and nothing else.
fn remove_cases(out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("no directory {}", out.display()))?;
    for entry in std::fs::read_dir(out)? {
        let path = entry?.path();
        if path.join("case.json").exists() {
            std::fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}
