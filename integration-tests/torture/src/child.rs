//! The common part of the processes that the controller starts.

use std::{io::BufRead, thread};

use anyhow::{Context, Result};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

/// Reads the settings of this process from the first line of its standard input: every user can read the arguments of a process,
/// and URLs have passwords.
pub(crate) fn settings<T: DeserializeOwned>() -> Result<T> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("no settings on the standard input")?;
    serde_json::from_str(&line).context("settings on the standard input")
}

/// Ends this process when the controller ends, even if this process is frozen. Returns the controller's requests to end.
pub(crate) fn end_with_controller() -> mpsc::UnboundedReceiver<()> {
    // A frozen process cannot detect the end of its input.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let (requests, end) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if line.is_err() || requests.send(()).is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
    end
}
