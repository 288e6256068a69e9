//! What the processes that the controller starts have in common.

use std::{io::BufRead, thread};

use anyhow::{Context, Result};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

/// What the controller tells this process: the first line of its standard input, since the arguments of a process can be
/// read by everybody, and URLs have passwords.
pub(crate) fn settings<T: DeserializeOwned>() -> Result<T> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("no settings on the standard input")?;
    serde_json::from_str(&line).context("settings on the standard input")
}

/// Has this process end with the controller, however that ends, even if this one is frozen.
pub(crate) fn end_with_controller() -> mpsc::UnboundedReceiver<()> {
    // The end of the input is noticed only by who is not frozen.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let (told, end) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if line.is_err() || told.send(()).is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
    end
}
