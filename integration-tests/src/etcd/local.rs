//! etcd from the binary of this machine.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
};

use rustix::process::Signal;

use super::health::is_healthy;
use crate::{
    ServerError,
    account::Account,
    keeper::Keeper,
    local_server::{LocalServer, Program},
    ports::{free_port, on_a_free_port},
    processes::Process,
    settings,
};

/// What it says when another process has one of its ports.
pub(super) const TAKEN: &str = "address already in use";

/// How a member finds the others.
#[derive(Debug, Clone)]
pub(super) struct Membership {
    pub(super) name: String,
    /// Where it listens for the others.
    pub(super) peer_port: u16,
    /// Where the others reach it.
    pub(super) peer_url: String,
    /// `name=url` of all, separated by commas.
    pub(super) cluster: String,
}

/// Starts a cluster of one, by a command that is put in front of it, if there is one; [`ServerError::NoServer`] when there is no
/// binary.
pub(super) fn start(under: &[String], settings: &[String]) -> Result<LocalServer, ServerError> {
    on_a_free_port(TAKEN, |peer_port| {
        let peer_url = format!("http://127.0.0.1:{peer_port}");
        let name = "default".to_owned();
        let cluster = format!("{name}={peer_url}");
        start_member(&Membership { name, peer_port, peer_url, cluster }, under, settings)
    })
}

/// Starts a member, and returns once it serves: so all members must be started at once.
pub(super) fn start_member(
    member: &Membership,
    under: &[String],
    settings: &[String],
) -> Result<LocalServer, ServerError> {
    if Command::new("etcd").arg("--version").output().is_err() {
        return Err(ServerError::NoServer("no etcd in PATH".into()));
    }
    let (port, health_port) = (free_port()?, free_port()?);
    let mut keeper = Keeper::new(Account::current(), "TERM")?;
    keeper.run(&["sh", "-c", &format!("echo {health_port} > health-port")])?;
    let scheme = if settings.iter().any(|setting| setting.starts_with("--cert-file")) { "https" } else { "http" };
    let client_url = format!("{scheme}://127.0.0.1:{port}");
    let mut command = under.to_vec();
    command.push("etcd".to_owned());
    command.extend(settings::joined(&[
        ("name", &member.name),
        ("data-dir", "data"),
        ("listen-client-urls", &client_url),
        ("advertise-client-urls", &client_url),
        ("listen-peer-urls", &format!("http://127.0.0.1:{}", member.peer_port)),
        ("initial-advertise-peer-urls", &member.peer_url),
        ("initial-cluster", &member.cluster),
        // Plain HTTP, whatever clients must speak.
        ("listen-metrics-urls", &format!("http://127.0.0.1:{health_port}")),
        ("logger", "zap"),
    ]));
    command.extend_from_slice(settings);
    LocalServer::start(keeper, program(command, port))
}

pub(super) fn program(command: Vec<String>, port: u16) -> Program {
    Program { command, port, is_ready, stop: Signal::TERM, after_kill: |_| {} }
}

/// A server that finds its port taken ends, so what answers there is this one, or is soon found to have ended.
fn is_ready(directory: &Path, _port: u16, processes: &[Process]) -> bool {
    let port = std::fs::read_to_string(directory.join("health-port")).unwrap_or_default();
    let Ok(port) = port.trim().parse() else { return false };
    !processes.is_empty() && is_healthy(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}
