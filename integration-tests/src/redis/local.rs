//! Redis from binaries of this machine.

use std::{
    env,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use rustix::process::Signal;

use super::raw;
use crate::{
    ServerError,
    account::Account,
    installed::in_path,
    keeper::Keeper,
    local_server::{LocalServer, Program},
    ports::{free_port, on_a_free_port},
    processes::Process,
    settings,
};

/// Which binary to start: `LEASE_TEST_REDIS_SERVER=valkey-server` runs all tests against Valkey.
const BINARY: &str = "LEASE_TEST_REDIS_SERVER";

/// What it says when another process has its port.
const TAKEN: &str = "Address already in use";

/// Starts a server, by a command that is put in front of it, if there is one; [`ServerError::NoServer`] when none is
/// installed.
pub(super) fn start(under: &[String], settings: &[String]) -> Result<LocalServer, ServerError> {
    let binary = binary()?;
    on_a_free_port(TAKEN, |port| {
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
        command.extend(settings::apart(&defaults));
        command.extend_from_slice(settings);
        launch(keeper()?, command, port)
    })
}

/// Starts a sentinel, which writes into its file of settings.
pub(super) fn start_sentinel(settings: &str) -> Result<LocalServer, ServerError> {
    let binary = binary()?;
    on_a_free_port(TAKEN, |port| {
        let keeper = keeper()?;
        let file = keeper.directory().join("sentinel.conf");
        let text = format!("port {port}\nbind 127.0.0.1\npidfile pid\n{settings}");
        std::fs::write(&file, text).map_err(|error| ServerError::failed("settings of the sentinel", error))?;
        launch(keeper, vec![binary.to_string_lossy().into_owned(), "sentinel.conf".into(), "--sentinel".into()], port)
    })
}

fn launch(keeper: Keeper, command: Vec<String>, port: u16) -> Result<LocalServer, ServerError> {
    LocalServer::start(keeper, program(command, port))
}

pub(super) fn program(command: Vec<String>, port: u16) -> Program {
    Program { command, port, is_ready, stop: Signal::TERM, after_kill: |_| {} }
}

fn keeper() -> Result<Keeper, ServerError> {
    Keeper::new(Account::current(), "TERM")
}

/// The server writes its process id into a file of its own directory, so no other server can be taken for it.
fn is_ready(directory: &Path, port: u16, processes: &[Process]) -> bool {
    let id = std::fs::read_to_string(directory.join("pid")).unwrap_or_default();
    let is_ours = processes.first().is_some_and(|first| first.id().to_string() == id.trim());
    is_ours && raw::serves((Ipv4Addr::LOCALHOST, port).into())
}

fn binary() -> Result<PathBuf, ServerError> {
    let named = env::var(BINARY).ok().filter(|name| !name.is_empty());
    let names = match &named {
        Some(name) => vec![name.as_str()],
        None => vec!["redis-server", "valkey-server"],
    };
    names
        .iter()
        .find_map(|name| in_path(name))
        .ok_or_else(|| ServerError::NoServer(format!("no {} in PATH", names.join(" or "))))
}
