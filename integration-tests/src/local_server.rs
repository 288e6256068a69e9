//! A server process of this machine, into which faults can be injected.

use std::{
    fmt::{self, Display},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::Signal;

use crate::{ServerError, deadline::poll_until, keeper::Keeper, processes::Process};

/// How long a server may take to start or to stop, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server in a scratch directory, of any kind. It ends when this value is dropped, or with this process. All methods
/// block.
#[derive(Debug)]
pub struct LocalServer {
    keeper: Mutex<Keeper>,
    program: Program,
    directory: PathBuf,
}

/// How a server is started and stopped.
#[derive(Debug)]
pub struct Program {
    /// The command, run in the scratch directory of the server.
    pub(crate) command: Vec<String>,
    /// The address of the server on the loopback interface.
    pub(crate) port: u16,
    /// Returns whether the server is ready. Called repeatedly after the start, with the directory, the port and the living
    /// processes. Must not take another server for this one.
    pub(crate) is_ready: fn(&Path, u16, &[Process]) -> bool,
    /// The signal that stops the first process in an orderly way.
    pub(crate) stop: Signal,
    /// Cleans up after a crash.
    pub(crate) after_kill: fn(&Path),
}

/// The data with which another process takes over a server, or a directory without one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) directory: PathBuf,
    pub(crate) keeper: u32,
    pub(crate) port: u16,
    /// The file of its wall clock, if it has one of its own.
    pub(crate) clock: Option<PathBuf>,
    pub(crate) command: Vec<String>,
}

impl Record {
    /// The data of a directory without a server.
    pub(crate) fn of_directory(mut keeper: Keeper) -> Result<Self, ServerError> {
        keeper.give()?;
        Ok(Self { directory: keeper.directory().to_owned(), keeper: keeper.id(), ..Self::default() })
    }
}

impl Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "directory={}\nkeeper={}\nport={}", self.directory.display(), self.keeper, self.port)?;
        self.clock.iter().try_for_each(|clock| writeln!(f, "clock={}", clock.display()))?;
        self.command.iter().try_for_each(|word| writeln!(f, "word={word}"))?;
        writeln!(f)
    }
}

impl FromStr for Record {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let mut record = Self::default();
        for line in text.trim_end().lines() {
            let no_number = |error| ServerError::failed(line, error);
            match line.split_once('=') {
                Some(("directory", path)) => record.directory = path.into(),
                Some(("keeper", id)) => record.keeper = id.parse().map_err(no_number)?,
                Some(("port", port)) => record.port = port.parse().map_err(no_number)?,
                Some(("clock", path)) => record.clock = Some(path.into()),
                Some(("word", word)) => record.command.push(word.to_owned()),
                _ => return Err(ServerError::Failed(format!("unknown line {line:?} in the record of a server"))),
            }
        }
        Ok(record)
    }
}

impl LocalServer {
    /// Starts a server in the directory of the keeper. Returns when it is ready.
    pub(crate) fn start(keeper: Keeper, program: Program) -> Result<Self, ServerError> {
        let directory = keeper.directory().to_owned();
        let server = Self { keeper: Mutex::new(keeper), program, directory };
        server.launch(&mut server.keeper())?;
        Ok(server)
    }

    /// Takes over a running server that another process has [given](Self::give).
    pub(crate) fn take(keeper: u32, directory: PathBuf, program: Program) -> Result<Self, ServerError> {
        let keeper = Keeper::take(keeper, directory.clone())?;
        if keeper.processes()?.is_empty() {
            return Err(ServerError::Failed("the server has ended".into()));
        }
        Ok(Self { keeper: Mutex::new(keeper), program, directory })
    }

    /// Gives the running server to another process. Afterwards this value cannot affect it.
    pub(crate) fn give(&self) -> Result<Record, ServerError> {
        let mut keeper = self.keeper();
        keeper.give()?;
        let Program { command, port, .. } = &self.program;
        Ok(Record {
            directory: self.directory.clone(),
            keeper: keeper.id(),
            port: *port,
            clock: None,
            command: command.clone(),
        })
    }

    /// Returns the address of the server on the loopback interface.
    pub(crate) fn port(&self) -> u16 {
        self.program.port
    }

    /// Stops all processes (SIGSTOP). Returns when all have stopped. Connections stay open.
    pub(crate) fn freeze(&self) -> Result<(), ServerError> {
        freeze(&self.keeper())
    }

    /// Continues all stopped processes.
    pub(crate) fn thaw(&self) -> Result<(), ServerError> {
        thaw(&self.keeper())
    }

    /// Kills all processes (SIGKILL) at one moment. Returns when all have ended.
    pub(crate) fn kill(&self) -> Result<(), ServerError> {
        let keeper = self.keeper();
        // Stopped first, so that no process observes the death of another.
        freeze(&keeper)?;
        let killed = keeper.processes()?;
        killed.iter().for_each(|process| process.signal(Signal::KILL));
        // A process whose parent has ended is not a descendant of the keeper any more, but still holds the shared resources
        // of the server.
        poll_until("all killed processes have ended", PATIENCE, || {
            Process::list().is_ok_and(|now| !now.iter().any(|process| killed.iter().any(|it| it.is_alive_as(process))))
        })?;
        ended(&keeper)?;
        (self.program.after_kill)(&self.directory);
        Ok(())
    }

    /// Stops the server in an orderly way. Returns when all processes have ended. A frozen server is continued first.
    pub(crate) fn stop(&self) -> Result<(), ServerError> {
        let keeper = self.keeper();
        thaw(&keeper)?;
        if let Some(first) = keeper.processes()?.first() {
            first.signal(self.program.stop);
        }
        ended(&keeper)
    }

    /// Stops the server in an orderly way, and starts it again.
    pub(crate) fn restart(&self) -> Result<(), ServerError> {
        self.stop()?;
        self.start_again()
    }

    /// Runs a command in the directory and the account of the server, and waits for its end.
    pub(crate) fn run(&self, command: &[&str]) -> Result<(), ServerError> {
        self.keeper().run(command)
    }

    /// Starts the server again after its end, with the same data and port.
    pub(crate) fn start_again(&self) -> Result<(), ServerError> {
        let mut keeper = self.keeper();
        if !keeper.processes()?.is_empty() {
            return Err(ServerError::Failed("the server is still running".into()));
        }
        self.launch(&mut keeper)
    }

    fn launch(&self, keeper: &mut Keeper) -> Result<(), ServerError> {
        let command: Vec<&str> = self.program.command.iter().map(String::as_str).collect();
        keeper.start(&command)?;
        let mut ended = false;
        let waited = poll_until("the server is ready", PATIENCE, || {
            let processes = keeper.processes().unwrap_or_default();
            ended = processes.is_empty();
            ended || (self.program.is_ready)(&self.directory, self.program.port, &processes)
        });
        match waited {
            Ok(()) if !ended => Ok(()),
            Ok(()) => Err(ServerError::Failed(format!("the server ended at once:\n{}", keeper.log_tail()))),
            Err(error) => Err(ServerError::Failed(format!("{error}:\n{}", keeper.log_tail()))),
        }
    }

    fn keeper(&self) -> MutexGuard<'_, Keeper> {
        // A panic in a test leaves this value consistent.
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn freeze(keeper: &Keeper) -> Result<(), ServerError> {
    let mut nothing = false;
    poll_until("all processes of the server have stopped", PATIENCE, || {
        let processes = keeper.processes().unwrap_or_default();
        nothing = processes.is_empty();
        // Parents first, and then again, because one may have started a child in the meantime.
        processes.iter().filter(|process| !process.is_stopped()).for_each(|process| process.signal(Signal::STOP));
        processes.iter().all(Process::is_stopped)
    })?;
    if nothing { Err(ServerError::Failed("the server is not running".into())) } else { Ok(()) }
}

fn thaw(keeper: &Keeper) -> Result<(), ServerError> {
    poll_until("all processes of the server continue", PATIENCE, || {
        let processes = keeper.processes().unwrap_or_default();
        // Children first, so that a parent which checks them finds them alive.
        processes.iter().rev().filter(|process| process.is_stopped()).for_each(|process| process.signal(Signal::CONT));
        !processes.iter().any(Process::is_stopped)
    })
}

fn ended(keeper: &Keeper) -> Result<(), ServerError> {
    poll_until("all processes of the server have ended", PATIENCE, || {
        keeper.processes().is_ok_and(|processes| processes.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = Record {
            directory: "/tmp/a directory".into(),
            keeper: 42,
            port: 10_240,
            clock: Some("/tmp/clock=1".into()),
            command: ["env", "LD_PRELOAD=x", "a server", "-c", "fsync=off", ""].map(str::to_owned).to_vec(),
        };
        assert_eq!(record.to_string().parse::<Record>().unwrap(), record);
        assert!("nothing".parse::<Record>().is_err());
    }
}
