//! Measures speed and scale side by side: `just bench`, or `cargo run --release -p benches --features peers -- --help`.

mod cells;
mod closed_loops;
mod contender;
mod contenders;
mod counting;
mod options;
// Opens stores on servers of this machine, as the torture test does.
#[path = "../../torture/src/open.rs"]
#[allow(dead_code, reason = "shared with the torture test")]
mod open;
mod picture;
mod report;
mod servers;
mod worker;

use std::{fs, time::Duration};

use anyhow::Result;
use clap::Parser;
use lease_core::{Clock, SystemClock};
use metrics_exporter_prometheus::PrometheusBuilder;

use self::{
    options::{Cell, Options},
    report::Summary,
    servers::Server,
    worker::Job,
};

const DIRECTORY: &str = "target/bench";

#[tokio::main]
async fn main() -> Result<()> {
    if let [_, argument, job] = &std::env::args().collect::<Vec<_>>()[..]
        && argument == worker::ARGUMENT
    {
        return serde_json::from_str::<Job>(job)?.perform().await;
    }
    let options = Options::parse();
    export_metrics()?;
    let mut summary = Summary::default();
    let outcome = measure(&options, &mut summary).await;
    // What was measured before a failure is worth something, too.
    summary.print();
    fs::create_dir_all(DIRECTORY)?;
    fs::write(format!("{DIRECTORY}/summary.json"), serde_json::to_string_pretty(&summary)?)?;
    picture::draw(&summary, &format!("{DIRECTORY}/throughput.svg"))?;
    println!("\n{DIRECTORY}/summary.json, {DIRECTORY}/throughput.svg");
    outcome
}

async fn measure(options: &Options, summary: &mut Summary) -> Result<()> {
    if options.cell.contains(&Cell::Local) {
        cells::local::run(options, summary).await?;
    }
    for &kind in &options.store {
        let server = Server::start(kind).await?;
        let url = server.url();
        for cell in &options.cell {
            eprintln!("{}: {cell:?}", kind.name());
            match cell {
                Cell::Acquire => cells::acquire::run(kind, &url, options, summary).await?,
                Cell::HandOver => cells::hand_over::run(kind, &url, options, summary).await?,
                Cell::TakeOver => cells::take_over::run(kind, &url, options, summary).await?,
                Cell::Waiters => cells::waiters::run(kind, &url, summary).await?,
                Cell::Contention => cells::contention::run(kind, &url, options, summary).await?,
                Cell::Renewal => cells::renewal::run(kind, &url, options, summary).await?,
                Cell::Local => {}
            }
        }
    }
    Ok(())
}

/// Exports metrics as an application does, for the contender that is measured with them.
fn export_metrics() -> Result<()> {
    let exporter = PrometheusBuilder::new().with_recommended_naming(true).install_recorder()?;
    tokio::spawn(async move {
        loop {
            SystemClock.sleep_until(SystemClock.now() + Duration::from_secs(1)).await;
            exporter.run_upkeep();
        }
    });
    Ok(())
}
