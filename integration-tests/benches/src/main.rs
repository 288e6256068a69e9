//! Speed and scale, side by side: `just bench`, or `cargo run --release -p benches --features peers -- --help`.

mod cells;
mod closed_loops;
mod contender;
mod contenders;
mod options;
mod report;
mod servers;

use std::fs;

use anyhow::Result;
use clap::Parser;

use self::{
    options::{Cell, Options},
    report::Summary,
    servers::Server,
};

const DIRECTORY: &str = "target/bench";

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let mut summary = Summary::default();
    for &kind in &options.store {
        let server = Server::start(kind).await?;
        for cell in &options.cell {
            match cell {
                Cell::Acquire => cells::acquire::run(kind, server.url(), &options, &mut summary).await?,
            }
        }
    }
    summary.print();
    fs::create_dir_all(DIRECTORY)?;
    fs::write(format!("{DIRECTORY}/summary.json"), serde_json::to_string_pretty(&summary)?)?;
    Ok(())
}
