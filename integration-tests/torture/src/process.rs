//! The processes that the controller starts.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use integration_tests::WallClock;
use lease_core::{Clock, SystemClock};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use crate::pause;

/// A process of this program in another part. It is killed when this value goes.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
}

impl Process {
    /// Starts a part (`worker`, `resource`) with its settings. To be called by the main thread: the process ends with the
    /// thread that starts it.
    pub(crate) fn start(part: &str, settings: &impl Serialize, clock: Option<&WallClock>) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(part).envs(clock.iter().flat_map(|clock| clock.environment()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().context("a process without input")?;
        let mut process = Self { child, input };
        process.tell(&serde_json::to_string(settings)?)?;
        Ok(process)
    }

    /// The first line that it prints.
    pub(crate) fn first_line(&mut self) -> Result<String> {
        let output = self.child.stdout.take().context("a process without output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).context("a process cannot be signalled")
    }

    /// Kills it, and returns when it is dead.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Tells it to end in good order, and returns when it has.
    pub(crate) async fn end(mut self, patience: Duration) -> Result<()> {
        self.tell("end")?;
        let deadline = SystemClock.now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "a process ended with {status}");
                return Ok(());
            }
            ensure!(SystemClock.now() < deadline, "a process does not end within {patience:?}");
            pause(Duration::from_millis(10)).await;
        }
    }

    fn tell(&mut self, line: &str) -> Result<()> {
        self.input.write_all(format!("{line}\n").as_bytes()).context("a process does not listen")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
