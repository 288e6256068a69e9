//! Azurite from the packages of npm that are in the cache.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use rustix::process::Signal;

use crate::{
    ServerError,
    account::Account,
    http,
    installed::{find, in_path},
    keeper::Keeper,
    local_server::{LocalServer, Program},
    ports::on_a_free_port,
    processes::Process,
};

/// What it says when another process has its port.
const TAKEN: &str = "EADDRINUSE";

/// In the directory of a server.
const SCRIPT: &str = "server.js";

/// Starts one, by a command that is put in front of it, if there is one; [`ServerError::NoServer`] when Node or its packages are
/// missing.
pub(super) fn start(under: &[String], settings: &[String]) -> Result<LocalServer, ServerError> {
    let node = in_path("node").ok_or_else(|| ServerError::NoServer("no node in PATH".into()))?;
    let modules = find("LEASE_TEST_AZURITE_MODULES", None, "azurite/node_modules")?;
    on_a_free_port(TAKEN, |port| {
        let keeper = Keeper::new(Account::current(), "TERM")?;
        std::fs::write(keeper.directory().join(SCRIPT), include_str!("server.js"))
            .map_err(|error| ServerError::failed(SCRIPT, error))?;
        let mut command = under.to_vec();
        command.extend([node.to_string_lossy(), SCRIPT.into(), modules.to_string_lossy()].map(String::from));
        command.extend(
            ["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--location", "data"].map(str::to_owned),
        );
        command.extend(["--skipApiVersionCheck", "--disableTelemetry", "--silent"].map(str::to_owned));
        command.extend_from_slice(settings);
        LocalServer::start(keeper, program(command, port))
    })
}

pub(super) fn program(command: Vec<String>, port: u16) -> Program {
    Program { command, port, is_ready, stop: Signal::TERM, after_kill: |_| {} }
}

/// Whether it answers as it does to any stranger.
pub(super) fn is_there(address: SocketAddr) -> bool {
    http::get(address, "/devstoreaccount1?comp=list").is_some_and(|answer| answer.contains("<Code>"))
}

/// A server that finds its port taken ends, so what answers there is this one, or is soon found to have ended.
fn is_ready(_directory: &Path, port: u16, processes: &[Process]) -> bool {
    !processes.is_empty() && is_there((Ipv4Addr::LOCALHOST, port).into())
}
