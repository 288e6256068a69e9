//! ZooKeeper from jars and the Java of this machine.

use std::{
    io::{Read, Write},
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
pub(super) const TAKEN: &str = "Address already in use";

/// Its file of settings, in its directory.
const SETTINGS: &str = "zoo.cfg";

/// Its file of the users of SASL, beside it.
const USERS: &str = "jaas.conf";

/// The user of SASL, and the password.
pub(super) const USER: (&str, &str) = ("app", "hunter2");

/// Starts a server that needs no other, by a command that is put in front of it, if there is one; [`ServerError::NoServer`] when
/// Java or the jars are missing.
pub(super) fn start(under: &[String], settings: &[String]) -> Result<LocalServer, ServerError> {
    on_a_free_port(TAKEN, |port| start_member(None, port, under, settings))
}

/// Starts a server, or a member of a cluster: that has a number, and returns once most of the others are there, too.
pub(super) fn start_member(
    number: Option<usize>,
    port: u16,
    under: &[String],
    settings: &[String],
) -> Result<LocalServer, ServerError> {
    let java = in_path("java").ok_or_else(|| ServerError::NoServer("no java in PATH".into()))?;
    let jars = find("LEASE_TEST_ZOOKEEPER_JARS", None, "zookeeper-3.8.0")?;
    let mut keeper = Keeper::new(Account::current(), "TERM")?;
    let mut lines = settings_as_arguments(&[
        ("dataDir", "data"),
        ("clientPort", &port.to_string()),
        ("clientPortAddress", "127.0.0.1"),
        // Sessions of two to twenty ticks: from 200 ms on.
        ("tickTime", "100"),
        ("maxSessionTimeout", "60000"),
        // In ticks. The defaults are for a tick of two seconds.
        ("initLimit", "100"),
        ("syncLimit", "50"),
        ("maxClientCnxns", "0"),
        ("admin.enableServer", "false"),
        ("4lw.commands.whitelist", "*"),
    ]);
    // Of two lines with one name, the last counts.
    lines.extend_from_slice(settings);
    let (user, password) = USER;
    let login = "org.apache.zookeeper.server.auth.DigestLoginModule";
    let users = format!("Server {{ {login} required user_{user}=\"{password}\"; }};");
    for (file, content) in [(SETTINGS, lines.join("\n")), (USERS, users)] {
        std::fs::write(keeper.directory().join(file), content).map_err(|error| ServerError::failed(file, error))?;
    }
    if let Some(number) = number {
        keeper.run(&["sh", "-c", &format!("mkdir -p data && echo {number} > data/myid")])?;
    }
    let mut command = under.to_vec();
    command.push(java.to_string_lossy().into_owned());
    // To be there soon counts more than to be fast later.
    command.extend(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx256m"].map(str::to_owned));
    command.push(format!("-Djava.security.auth.login.config={USERS}"));
    command.extend(["-cp".to_owned(), format!("{}/*", jars.display())]);
    command.extend(["org.apache.zookeeper.server.quorum.QuorumPeerMain", SETTINGS].map(str::to_owned));
    LocalServer::start(keeper, program(command, port))
}

pub(super) fn program(command: Vec<String>, port: u16) -> Program {
    Program { command, port, is_ready, stop: Signal::TERM, after_kill: |_| {} }
}

/// `name=value` for each: the lines of its file.
pub(super) fn settings_as_arguments(settings: &[(&str, &str)]) -> Vec<String> {
    settings.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// `standalone`, `leader` or `follower`, once it serves.
pub(super) fn mode(address: SocketAddr) -> Option<String> {
    let answer = four_letters(address, "srvr")?;
    Some(answer.lines().find_map(|line| line.strip_prefix("Mode: "))?.to_owned())
}

pub(super) fn four_letters(address: SocketAddr, word: &str) -> Option<String> {
    let mut stream = http::connect(address)?;
    stream.write_all(word.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// A server that finds its port taken ends, so what answers there is this one, or is soon found to have ended.
fn is_ready(_directory: &Path, port: u16, processes: &[Process]) -> bool {
    !processes.is_empty() && mode((Ipv4Addr::LOCALHOST, port).into()).is_some()
}
