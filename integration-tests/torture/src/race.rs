//! Many racers in several processes, who all want the same name at the same moment.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use lease_core::{Acquired, Clock, SystemClock};
use lease_testkit::calls::{acquire, claim, holder, name, release, request};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{
    child,
    fault::{Fault, Store},
    open::open,
    process::Process,
    server::Server,
};

/// Longer than all races.
const TTL: Duration = Duration::from_secs(3600);

/// Each name is raced for again, so that its tokens are compared.
const ROUNDS: usize = 2;

/// What is raced.
#[derive(Debug, Args)]
pub struct Race {
    /// The stores.
    #[arg(long, required = true)]
    store: Vec<Store>,
    /// The number of processes.
    #[arg(long, default_value_t = 8)]
    processes: usize,
    /// The number of racers in each process.
    #[arg(long, default_value_t = 24)]
    racers: usize,
    /// The number of names, which are raced for one after the other, twice.
    #[arg(long, default_value_t = 100)]
    names: usize,
}

/// The settings of a process of racers.
#[derive(Debug, Serialize, Deserialize)]
struct Settings {
    url: String,
    process: usize,
    racers: usize,
}

/// What a process says after a race.
#[derive(Debug, Serialize, Deserialize)]
struct Outcome {
    /// The tokens of its winners.
    tokens: Vec<u64>,
    errors: Vec<String>,
}

impl Race {
    /// Races on each store.
    ///
    /// # Errors
    ///
    /// Returns an error if a race has two winners, or none without an error that explains it; if a token does not rise; or if a server
    /// or a process fails.
    pub async fn run(&self) -> Result<()> {
        for &store in &self.store {
            let began = SystemClock.now();
            let (races, errors) = self.on(store).await.with_context(|| format!("{store:?}"))?;
            println!(
                "{store:?}: {races} races of {} processes with {} racers: one winner each, tokens rise, {errors} errors, {:.0?}",
                self.processes,
                self.racers,
                SystemClock.now().saturating_since(began)
            );
        }
        Ok(())
    }

    /// Returns the numbers of races and of errors.
    async fn on(&self, store: Store) -> Result<(usize, usize)> {
        let server = Server::start(store, Fault::None, None).await?;
        server.prepare().await?;
        let mut processes = Vec::new();
        for process in 0..self.processes {
            let settings = Settings { url: server.url(), process, racers: self.racers };
            processes.push(Process::start("racers", &settings, None)?);
        }
        let (mut races, mut errors) = (0, 0);
        for name in 0..self.names {
            let mut last = 0;
            for _ in 0..ROUNDS {
                let mut winners = Vec::new();
                for process in &mut processes {
                    process.write_line(&format!("race/{name}"))?;
                }
                let mut failed = Vec::new();
                for process in &mut processes {
                    let outcome: Outcome =
                        serde_json::from_str(&process.read_line()?).context("a process of racers")?;
                    winners.extend(outcome.tokens);
                    failed.extend(outcome.errors);
                }
                match winners[..] {
                    [token] if token > last => last = token,
                    [token] => bail!("race/{name}: token {token} after {last}"),
                    [] => ensure!(!failed.is_empty(), "race/{name}: nobody wins"),
                    _ => bail!("race/{name}: several winners, with the tokens {winners:?}"),
                }
                races += 1;
                errors += failed.len();
                // Once all have seen that.
                for process in &mut processes {
                    process.write_line("release")?;
                }
                for process in &mut processes {
                    process.read_line()?;
                }
            }
        }
        Ok((races, errors))
    }
}

/// Runs the racers of one process: for each line, a race, and for the line after it, the release of what was won.
///
/// # Errors
///
/// Returns an error if the store cannot be opened.
pub async fn run() -> Result<()> {
    let settings: Settings = child::settings()?;
    let store = open(&settings.url).await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let name = name(&line);
        let tasks: Vec<_> = (0..settings.racers)
            .map(|racer| {
                let store = Arc::clone(&store);
                let request = request(name.clone(), holder(&format!("{}-{racer}", settings.process)), TTL);
                tokio::spawn(async move { (acquire(&*store, &request).await, request) })
            })
            .collect();
        let (mut won, mut outcome) = (Vec::new(), Outcome { tokens: Vec::new(), errors: Vec::new() });
        for task in tasks {
            match task.await? {
                (Ok(Acquired::Granted(grant)), request) => {
                    outcome.tokens.push(grant.token.get());
                    won.push(claim(&request, grant));
                }
                (Ok(_), _) => {}
                (Err(error), _) => outcome.errors.push(error.to_string()),
            }
        }
        println!("{}", serde_json::to_string(&outcome)?);
        lines.next_line().await?.context("the race was not ended")?;
        for claim in &won {
            release(&*store, claim).await;
        }
        println!("released");
    }
    Ok(())
}
