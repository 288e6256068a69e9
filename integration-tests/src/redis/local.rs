//! Redis from binaries of this machine.

use std::{
    env,
    path::{Path, PathBuf},
};

use rustix::process::Signal;

use crate::{
    ServerError, account::Account, keeper::Keeper, local_server::LocalServer, ports::free_port, processes::Process,
};

/// Which binary to start: `LEASE_TEST_REDIS_SERVER=valkey-server` runs all tests against Valkey.
const BINARY: &str = "LEASE_TEST_REDIS_SERVER";

/// A Redis server of this machine. All methods block.
#[derive(Debug)]
pub(super) struct LocalRedis {
    server: LocalServer,
    port: u16,
}

impl LocalRedis {
    /// Starts a server, by a command that is put in front of it, if there is one; [`ServerError::NoServer`] when none is
    /// installed.
    pub(super) fn start(under: &[String], settings: &[String]) -> Result<Self, ServerError> {
        let binary = binary()?;
        repeatedly(|| {
            let port = free_port()?;
            let (cluster_port, port_argument) = (free_port()?.to_string(), port.to_string());
            let mut command = under.to_vec();
            command.push(binary.to_string_lossy().into_owned());
            let mut defaults = vec![
                ("port", &*port_argument),
                ("bind", "127.0.0.1"),
                ("save", ""),
                ("appendonly", "no"),
                // Written at the start, and so a sign of it.
                ("pidfile", "pid"),
            ];
            if settings.iter().any(|word| word == "--cluster-enabled") {
                defaults.push(("cluster-port", &cluster_port));
            }
            command.extend(settings_as_arguments(&defaults));
            command.extend_from_slice(settings);
            Ok(Self { server: LocalServer::start(keeper()?, command, is_ready)?, port })
        })
    }

    /// Starts a sentinel, which writes into its file of settings.
    pub(super) fn start_sentinel(settings: &str) -> Result<Self, ServerError> {
        let binary = binary()?;
        repeatedly(|| {
            let (keeper, port) = (keeper()?, free_port()?);
            let file = keeper.directory().join("sentinel.conf");
            let text = format!("port {port}\nbind 127.0.0.1\npidfile pid\n{settings}");
            std::fs::write(&file, text).map_err(|error| ServerError::failed("settings of the sentinel", error))?;
            let command = vec![binary.to_string_lossy().into_owned(), "sentinel.conf".into(), "--sentinel".into()];
            Ok(Self { server: LocalServer::start(keeper, command, is_ready)?, port })
        })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn freeze(&self) -> Result<(), ServerError> {
        self.server.freeze()
    }

    pub(super) fn thaw(&self) -> Result<(), ServerError> {
        self.server.thaw()
    }

    pub(super) fn kill(&self) -> Result<(), ServerError> {
        self.server.kill()
    }

    pub(super) fn start_again(&self) -> Result<(), ServerError> {
        self.server.start_again()
    }

    pub(super) fn restart(&self) -> Result<(), ServerError> {
        self.server.stop(Signal::TERM)?;
        self.server.start_again()
    }
}

/// `--name value` for each.
pub(super) fn settings_as_arguments(settings: &[(&str, &str)]) -> Vec<String> {
    settings.iter().flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]).collect()
}

/// Between the search for a free port and its use, another process may take it.
fn repeatedly<T>(mut start: impl FnMut() -> Result<T, ServerError>) -> Result<T, ServerError> {
    let mut attempts = 5;
    loop {
        attempts -= 1;
        match start() {
            Err(error) if attempts > 0 && error.to_string().contains("Address already in use") => {}
            outcome => return outcome,
        }
    }
}

fn keeper() -> Result<Keeper, ServerError> {
    Keeper::new(Account::current(), "TERM")
}

/// The server writes its process id into a file of its own directory, so no other server can be taken for it.
fn is_ready(directory: &Path, processes: &[Process]) -> bool {
    let id = std::fs::read_to_string(directory.join("pid")).unwrap_or_default();
    processes.first().is_some_and(|first| first.id().to_string() == id.trim())
}

fn binary() -> Result<PathBuf, ServerError> {
    let named = env::var(BINARY).ok().filter(|name| !name.is_empty());
    let names = match &named {
        Some(name) => vec![name.as_str()],
        None => vec!["redis-server", "valkey-server"],
    };
    let in_path = env::var_os("PATH").unwrap_or_default();
    names
        .iter()
        .flat_map(|name| env::split_paths(&in_path).map(move |directory| directory.join(name)))
        .find(|binary| binary.is_file())
        .ok_or_else(|| ServerError::NoServer(format!("no {} in PATH", names.join(" or "))))
}
