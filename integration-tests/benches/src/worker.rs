//! Worker processes of this program, with a part of the work each.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdout, Command},
};

use crate::{
    cells::{contention, renewal},
    servers::StoreKind,
};

/// The argument that starts this program as a worker.
pub(crate) const ARGUMENT: &str = "--as-worker";

const READY: &str = "ready";

/// The job of a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Job {
    Renewal { store: StoreKind, url: String, leases: usize, ttl: Duration, held_for: Duration },
    Contention { store: StoreKind, url: String, contender: String },
}

impl Job {
    /// Runs in the worker: executes the job and prints its result.
    pub(crate) async fn perform(self) -> Result<()> {
        let outcome = match self {
            Self::Renewal { store, url, leases, ttl, held_for } => {
                serde_json::to_string(&renewal::hold(store, &url, leases, ttl, held_for).await?)?
            }
            Self::Contention { store, url, contender } => {
                serde_json::to_string(&contention::contend(store, &url, &contender).await?)?
            }
        };
        println!("{outcome}");
        Ok(())
    }
}

/// Runs in the worker: reports that it is ready, and waits until all others are.
pub(crate) async fn wait_for_go() -> Result<()> {
    println!("{READY}");
    BufReader::new(tokio::io::stdin()).read_line(&mut String::new()).await?;
    Ok(())
}

/// A running worker, which is killed when this value is dropped.
pub(crate) struct Worker {
    child: Child,
    output: BufReader<ChildStdout>,
}

pub(crate) fn start(job: &Job) -> Result<Worker> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(ARGUMENT)
        .arg(serde_json::to_string(job)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = BufReader::new(child.stdout.take().context("its output is piped")?);
    Ok(Worker { child, output })
}

impl Worker {
    /// Waits until the worker is ready. It continues when [`Worker::finish`] is called.
    pub(crate) async fn is_ready(&mut self) -> Result<()> {
        let mut line = String::new();
        self.output.read_line(&mut line).await?;
        ensure!(line.trim() == READY, "a worker said {line:?}");
        Ok(())
    }

    /// Lets the worker continue, and returns its result.
    pub(crate) async fn finish<T: DeserializeOwned>(mut self) -> Result<T> {
        if let Some(mut input) = self.child.stdin.take() {
            input.write_all(b"go\n").await?;
        }
        let mut output = String::new();
        self.output.read_to_string(&mut output).await?;
        ensure!(self.child.wait().await?.success(), "a worker failed");
        Ok(serde_json::from_str(&output)?)
    }
}
