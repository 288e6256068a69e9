//! The processes that the controller starts.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use integration_tests::WallClock;
use lease_core::{Clock, SystemClock};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use crate::pause;

/// A process of this program that runs one of its parts. It is killed when this value is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// Starts a part (`worker`, `resource`, `racers`) with its settings. Call it on the main thread: the process ends with the
    /// thread that starts it.
    pub(crate) fn start(part: &str, settings: &impl Serialize, clock: Option<&WallClock>) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(part).envs(clock.iter().flat_map(|clock| clock.environment()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().context("a process has no input")?;
        let output = BufReader::new(child.stdout.take().context("a process has no output")?);
        let mut process = Self { child, input, output };
        process.write_line(&serde_json::to_string(settings)?)?;
        Ok(process)
    }

    /// Returns the next line that the process prints.
    pub(crate) fn read_line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).context("a process cannot be signalled")
    }

    /// Kills the process and waits for its end.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Requests a clean end of the process and waits for it.
    pub(crate) async fn end(mut self, timeout: Duration) -> Result<()> {
        self.write_line("end")?;
        let deadline = SystemClock.now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "a process ended with {status}");
                return Ok(());
            }
            ensure!(SystemClock.now() < deadline, "a process does not end within {timeout:?}");
            pause(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn write_line(&mut self, line: &str) -> Result<()> {
        self.input.write_all(format!("{line}\n").as_bytes()).context("a process does not read its input")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
