//! The command line of the torture test.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use lease_core::{Clock, SystemClock};
use torture::{Fault, Store, case::Case, check, record::Sabotage, report, resource, worker};

/// Worker processes contend for leases through a real store, while a nemesis does harm from a printed seed. Everybody
/// writes down what they saw, and a checker judges it.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs cases, and judges them.
    Run(Run),
    /// Judges a case that was recorded.
    Check {
        /// The directory of the case.
        case: PathBuf,
    },
    /// Judges a run that was recorded, and writes its report.
    Report {
        /// The directory of the run, which has one for each case.
        run: PathBuf,
    },
    /// Contends for leases. Started by `run`.
    #[command(hide = true)]
    Worker,
    /// Is the fenced resource. Started by `run`.
    #[command(hide = true)]
    Resource,
}

#[derive(Debug, Parser)]
struct Run {
    /// Which stores; all by default.
    #[arg(long)]
    store: Vec<Store>,
    /// What is done to them, one case each; everything that can be by default.
    #[arg(long)]
    fault: Vec<Fault>,
    /// A bug to be built in on purpose, which must be caught. Without a fault, by the one that shows it.
    #[arg(long)]
    sabotage: Vec<Sabotage>,
    /// From which the faults are drawn; random by default. It is in the report.
    #[arg(long)]
    seed: Option<u64>,
    /// How long the faults of one case go on, in ttls: of one second, and two with etcd.
    #[arg(long, default_value = "4")]
    length: f64,
    /// Begins anew with other seeds, until so much time has passed or something is wrong.
    #[arg(long, conflicts_with = "seed", value_parser = humantime::parse_duration)]
    soak: Option<Duration>,
    /// Where the records and the report go, in place of those that are there.
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
        Command::Worker => worker::run().await.map(|()| true)?,
        Command::Resource => resource::run().await.map(|()| true)?,
    };
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Run {
    /// Whether all is as it must be.
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
        let stores = if self.store.is_empty() { Store::value_variants() } else { &self.store };
        let case = |store, fault, sabotage: Option<Sabotage>| {
            let seed = self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
            // A bug needs an occasion to show.
            let length = if sabotage.is_some() { self.length * 2.0 } else { self.length };
            Case { store, fault, sabotage, seed, length }
        };
        let faults_of = |store| if self.fault.is_empty() { Fault::all_of(store) } else { self.fault.clone() };
        let shown_by = |sabotage| self.fault.first().copied().unwrap_or_else(|| Fault::that_shows(sabotage));
        let mut cases = Vec::new();
        for &store in stores {
            if self.sabotage.is_empty() {
                cases.extend(faults_of(store).into_iter().map(|fault| case(store, fault, None)));
            }
            cases.extend(self.sabotage.iter().map(|&sabotage| case(store, shown_by(sabotage), Some(sabotage))));
        }
        if self.store.is_empty() && self.fault.is_empty() && self.sabotage.is_empty() {
            // Without them nobody knows whether the rest proves anything (C8). One store shows it.
            let controls = Sabotage::value_variants().iter();
            cases.extend(controls.map(|&sabotage| case(Store::Redis, Fault::that_shows(sabotage), Some(sabotage))));
        }
        cases
    }

    /// Whether it could be run. What was seen is for the report.
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

/// Whether all is as it must be.
fn write_report(run: &Path) -> Result<bool> {
    let report = report::write(run)?;
    println!("{}\n{}", report::text(&report.verdicts), report.page.display());
    Ok(report.passed())
}

/// Makes room for the cases of a new run; touches nothing else.
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
