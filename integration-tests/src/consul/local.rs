//! Consul from the binary of this machine.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use rustix::process::Signal;

use crate::{
    ServerError,
    account::Account,
    http,
    installed::find,
    keeper::Keeper,
    local_server::{LocalServer, Program},
    ports::{free_port, on_a_free_port},
    processes::Process,
};

/// What it says when another process has one of its ports.
pub(super) const TAKEN: &str = "address already in use";

/// Starts a server that needs no other, by a command that is put in front of it, if there is one; [`ServerError::NoServer`] when
/// there is no binary.
pub(super) fn start(under: &[String], settings: &[String]) -> Result<LocalServer, ServerError> {
    on_a_free_port(TAKEN, |port| {
        let gossip = free_port()?;
        start_server(port, free_port()?, gossip, under, &[&["-bootstrap-expect=1".to_owned()], settings].concat())
    })
}

/// Starts a server, which returns when there is a leader: by its ports for clients, for Raft and for gossip.
pub(super) fn start_server(
    port: u16,
    raft: u16,
    gossip: u16,
    under: &[String],
    arguments: &[String],
) -> Result<LocalServer, ServerError> {
    let binary = find("LEASE_TEST_CONSUL", Some("consul"), "consul-1.8.7/consul")?;
    let ports =
        format!("{{ http = {port}, server = {raft}, serf_lan = {gossip}, serf_wan = -1, dns = -1, grpc = -1 }}");
    let mut command = under.to_vec();
    command.push(binary.to_string_lossy().into_owned());
    command.extend(["agent", "-server", "-bind=127.0.0.1", "-data-dir=data"].map(str::to_owned));
    command.extend(settings_as_arguments(&[
        ("ports", &ports),
        // The timeouts of a large cluster make an election take ten seconds.
        ("performance", "{ raft_multiplier = 1 }"),
        ("disable_update_check", "true"),
        // Thousands of requests of one client are a test, not an attack.
        ("limits", "{ http_max_conns_per_client = 10000 }"),
    ]));
    command.extend_from_slice(arguments);
    LocalServer::start(Keeper::new(Account::current(), "TERM")?, program(command, port))
}

pub(super) fn program(command: Vec<String>, port: u16) -> Program {
    Program { command, port, is_ready, stop: Signal::TERM, after_kill: |_| {} }
}

/// `-hcl name=value` for each.
pub(super) fn settings_as_arguments(settings: &[(&str, &str)]) -> Vec<String> {
    settings.iter().flat_map(|(name, value)| ["-hcl".to_owned(), format!("{name} = {value}")]).collect()
}

/// The address of the leader's Raft, as this server sees it.
pub(super) fn leader(address: SocketAddr) -> Option<SocketAddr> {
    http::get(address, "/v1/status/leader")?.rsplit(['\n', '"']).find_map(|text| text.parse().ok())
}

/// Whether there is a leader, without whom nothing is written or read.
pub(super) fn has_leader(address: SocketAddr) -> bool {
    // Neither needs a token. The leader is known a little before it has taken over what the last one has left.
    http::get(address, "/v1/status/leader").is_some_and(|leader| leader.contains(':'))
        && http::get(address, "/v1/kv/no-such-key?consistent").is_some_and(|answer| !answer.contains("leader"))
}

/// A server that finds a port taken ends, so what answers there is this one, or is soon found to have ended.
fn is_ready(_directory: &Path, port: u16, processes: &[Process]) -> bool {
    !processes.is_empty() && has_leader((Ipv4Addr::LOCALHOST, port).into())
}
