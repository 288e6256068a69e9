//! A scratch directory and the server in it, which a guardian process clears away even if the test process is killed.

use std::{
    fs::File,
    io::{BufRead, BufReader, ErrorKind, Write},
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{ServerError, account::Account, deadline::poll_until, processes::Process};

/// How long the guardian may take to clear up, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A scratch directory with a guardian process. The guardian (a shell script, `keeper.sh`) starts commands in the directory.
/// It clears everything away when this process closes its end of the pipe: when this value is dropped, or when this process
/// ends in any way, SIGKILL included.
#[derive(Debug)]
pub(crate) struct Keeper {
    guardian: u32,
    /// The guardian, if this process started it.
    child: Option<Child>,
    /// `None` after the directory was given to the next test process.
    requests: Option<File>,
    answers: BufReader<File>,
    directory: PathBuf,
}

impl Keeper {
    /// Creates a directory. At the end the guardian sends `stop_signal` (`"QUIT"`) to the server, and SIGKILL if the server
    /// does not end.
    pub(crate) fn new(account: Account, stop_signal: &str) -> Result<Self, ServerError> {
        let mut command = Command::new("sh");
        command
            .args(["-c", include_str!("keeper.sh"), "keeper", stop_signal])
            // The environment of the test run (PGPORT, LANG, …) must not affect the server.
            .env_clear()
            .envs(
                ["PATH", "TMPDIR", "LEASE_TEST_DATA", "DOCKER_HOST", "HOME"]
                    .iter()
                    .filter_map(|&key| Some((key, std::env::var_os(key)?))),
            )
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // The output of the test does not stay open after the test has ended.
            .stderr(Stdio::null())
            // A signal to the process group of the test (Ctrl-C, the time limit of a test runner) must not end the guardian.
            .process_group(0);
        account.run(&mut command);
        let mut child = command.spawn().map_err(|error| ServerError::failed("cannot start sh", error))?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(ServerError::Failed("the pipes of sh are missing".into()));
        };
        let mut keeper = Self {
            guardian: child.id(),
            child: Some(child),
            requests: Some(OwnedFd::from(requests).into()),
            answers: BufReader::new(OwnedFd::from(answers).into()),
            directory: PathBuf::new(),
        };
        keeper.directory = keeper.answer()?.into();
        Ok(keeper)
    }

    /// Takes over a directory that another process has [given](Self::give).
    pub(crate) fn take(guardian: u32, directory: PathBuf) -> Result<Self, ServerError> {
        let failed = |error| ServerError::failed("cannot open the pipes of the guardian", error);
        // Opening a pipe waits for its other end.
        if !Process::list()?.iter().any(|process| process.id() == guardian) {
            return Err(ServerError::Failed("the guardian of the server has ended".into()));
        }
        let requests = File::options().write(true).open(directory.join("requests")).map_err(failed)?;
        let answers = BufReader::new(File::open(directory.join("answers")).map_err(failed)?);
        let mut keeper = Self { guardian, child: None, requests: Some(requests), answers, directory };
        keeper.request("taken", &[])?;
        Ok(keeper)
    }

    /// Gives the directory and the server to the next process that [takes](Self::take) them. Until then only an `end` that
    /// is written to the pipe of the guardian clears them away.
    pub(crate) fn give(&mut self) -> Result<(), ServerError> {
        self.request("idle", &[])?;
        self.requests = None;
        Ok(())
    }

    /// Returns the process id of the guardian.
    pub(crate) fn id(&self) -> u32 {
        self.guardian
    }

    /// Returns the scratch directory. It is the working directory of all commands, and is deleted at the end.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs a command in the directory and waits for its end. Its output goes to the log.
    pub(crate) fn run(&mut self, command: &[&str]) -> Result<(), ServerError> {
        match self.request("run", command)?.as_str() {
            "0" => Ok(()),
            code => Err(ServerError::Failed(format!(
                "`{}` ended with code {code}:\n{}",
                command.join(" "),
                self.log_tail()
            ))),
        }
    }

    /// Starts a server in the directory. An earlier one must have ended.
    pub(crate) fn start(&mut self, command: &[&str]) -> Result<(), ServerError> {
        self.request("start", command).map(drop)
    }

    /// Adds a command that the guardian runs at the end, for resources outside the directory: a container.
    pub(crate) fn finally(&mut self, command: &[&str]) -> Result<(), ServerError> {
        self.request("finally", command).map(drop)
    }

    /// Returns the living processes of the server, parents first.
    pub(crate) fn processes(&self) -> Result<Vec<Process>, ServerError> {
        // The process id of the guardian is valid, because it lives until this process closes the pipe.
        Process::all_below(self.guardian)
    }

    /// Returns the last lines of the output of all commands, for error messages.
    pub(crate) fn log_tail(&self) -> String {
        let log = std::fs::read(self.directory.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    fn request(&mut self, request: &str, command: &[&str]) -> Result<String, ServerError> {
        let quoted: Vec<String> = command.iter().map(|word| quote(word)).collect();
        let line = format!("{request} {}\n", quoted.join(" "));
        let sent = match &mut self.requests {
            Some(requests) => requests.write_all(line.as_bytes()),
            None => Err(ErrorKind::BrokenPipe.into()),
        };
        sent.map_err(|error| ServerError::failed("the guardian of the server has ended", error))?;
        self.answer()
    }

    fn answer(&mut self) -> Result<String, ServerError> {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .map_err(|error| ServerError::failed("the guardian of the server does not answer", error))?;
        let (word, rest) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        match word {
            "ok" | "exit" => Ok(rest.to_owned()),
            _ => Err(ServerError::Failed(format!("the guardian of the server has failed: {rest}"))),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if self.requests.take().is_none() {
            return;
        }
        // Bounded, because the script kills the server after a few seconds. The wait keeps servers from piling up.
        let _ = match &mut self.child {
            Some(guardian) => guardian.wait().map(drop).map_err(|error| ServerError::failed("sh", error)),
            None => poll_until("the directory is gone", PATIENCE, || !self.directory.exists()),
        };
    }
}

/// Quotes a word for the shell.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper() -> Keeper {
        Keeper::new(Account::current(), "TERM").unwrap()
    }

    #[test]
    fn runs_commands_word_by_word() {
        let mut keeper = keeper();
        keeper.run(&["touch", "it's a \"$HOME\" `id`; \\ *"]).unwrap();
        assert!(keeper.directory().join("it's a \"$HOME\" `id`; \\ *").exists());
    }

    #[test]
    fn a_command_that_fails_is_shown_with_what_it_printed() {
        let error = keeper().run(&["sh", "-c", "echo the reason >&2; exit 3"]).unwrap_err().to_string();
        assert!(error.contains("code 3") && error.contains("the reason"), "{error}");
    }

    #[test]
    fn the_end_takes_the_directory_and_every_process_even_frozen_and_deaf_ones() {
        let mut keeper = keeper();
        let directory = keeper.directory().to_owned();
        keeper.start(&["sh", "-c", "trap '' TERM; sleep 1000 & sleep 1001 & while :; do sleep 1; done"]).unwrap();
        poll_until("all started", Duration::from_secs(5), || keeper.processes().unwrap().len() >= 4).unwrap();
        let processes = keeper.processes().unwrap();
        for process in &processes {
            process.signal(rustix::process::Signal::STOP);
        }
        drop(keeper);
        assert!(!directory.exists());
        for process in processes {
            let is_gone = || !Process::list().unwrap().iter().any(|other| other.id() == process.id());
            poll_until(&format!("{process:?} is gone"), Duration::from_secs(5), is_gone).unwrap();
        }
    }

    #[test]
    fn another_process_takes_over_what_one_gives_and_it_ends_with_that() {
        let mut first = keeper();
        let (guardian, directory) = (first.id(), first.directory().to_owned());
        first.start(&["sleep", "1000"]).unwrap();
        for _ in 0..3 {
            first.give().unwrap();
            drop(first);
            first = Keeper::take(guardian, directory.clone()).unwrap();
            first.run(&["touch", "taken"]).unwrap();
            assert_eq!(first.processes().unwrap().len(), 1);
        }
        drop(first);
        assert!(!directory.exists());
    }

    #[test]
    fn what_is_given_ends_at_a_word() {
        let mut keeper = keeper();
        let directory = keeper.directory().to_owned();
        keeper.give().unwrap();
        drop(keeper);
        assert!(directory.exists());
        File::options().write(true).open(directory.join("requests")).unwrap().write_all(b"end\n").unwrap();
        poll_until("the directory is gone", PATIENCE, || !directory.exists()).unwrap();
    }

    #[test]
    fn the_last_command_is_run() {
        let mut keeper = keeper();
        let mut witness = self::keeper();
        witness.run(&["mkdir", "witness"]).unwrap();
        let path = witness.directory().join("witness");
        keeper.finally(&["rmdir", path.to_str().unwrap()]).unwrap();
        assert!(path.exists());
        drop(keeper);
        assert!(!path.exists());
    }
}
