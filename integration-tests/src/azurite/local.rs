//! Azurite from the packages of npm that are in the cache.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use rustix::process::Signal;

use crate::{
    ServerError, http,
    local_server::{LocalServer, Program},
    node::NodeServer,
    processes::Process,
};

const SERVER: NodeServer = NodeServer {
    script: include_str!("server.js"),
    variable: "LEASE_TEST_AZURITE_MODULES",
    cached: "azurite/node_modules",
    program,
};

/// Starts one; see [`NodeServer::start`].
pub(super) fn start(under: &[String], settings: &[String]) -> Result<LocalServer, ServerError> {
    SERVER.start(under, |port| {
        let port = port.to_string();
        let defaults = ["--blobHost", "127.0.0.1", "--blobPort", &port, "--location", "data"];
        let flags = ["--skipApiVersionCheck", "--disableTelemetry", "--silent"];
        defaults.into_iter().chain(flags).map(str::to_owned).chain(settings.iter().cloned()).collect()
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
