//! PostgreSQL from binaries of this machine.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;

use crate::{
    ServerError,
    account::Account,
    installed::path_in,
    keeper::Keeper,
    local_server::{LocalServer, Program},
    pool,
    ports::on_a_free_port,
    processes::Process,
};

/// Where the data of a new server comes from.
#[derive(Debug, Clone, Copy)]
enum Data {
    Fresh,
    /// Copied from the server that is reached by this port, and kept up to date from there.
    ReplicaOf(u16),
}

/// Starts the newest version that is installed, by a command that is put in front of it, if there is one;
/// [`ServerError::NoServer`] when none is.
pub(super) fn start(under: &[String], settings: &[String]) -> Result<LocalServer, ServerError> {
    start_with(Data::Fresh, under, settings)
}

/// Starts a replica of the server that is reached by this port.
pub(super) fn start_replica(port: u16) -> Result<LocalServer, ServerError> {
    // By default it looks for the primary once in five seconds, and for its own promotion no more often.
    start_with(Data::ReplicaOf(port), &[], &settings_as_arguments(&[("wal_retrieve_retry_interval", "100ms")]))
}

/// Makes a replica a server of its own, once it has applied all that it has received.
pub(super) fn promote(replica: &LocalServer) -> Result<(), ServerError> {
    replica.run(&[path(&tool(&find_binaries()?, "pg_ctl"))?, "promote", "-w", "-D", "data"])
}

fn start_with(data: Data, under: &[String], settings: &[String]) -> Result<LocalServer, ServerError> {
    let binaries = find_binaries()?;
    on_a_free_port("could not bind", |port| {
        let mut keeper = new_keeper()?;
        match data {
            Data::Fresh => make_data_directory(&mut keeper, &binaries)?,
            Data::ReplicaOf(primary) => copy_data_directory(&mut keeper, &binaries, primary)?,
        }
        let port_argument = port.to_string();
        let mut command = under.to_vec();
        command.extend([path(&binaries.join("postgres"))?, "-D", "data", "-p", &port_argument].map(Into::into));
        let defaults = [
            ("listen_addresses", "127.0.0.1"),
            // A path in a long temporary directory may not fit into a socket's address.
            ("unix_socket_directories", ""),
            ("max_connections", "300"),
            ("fsync", "off"),
            // Shared memory that a crash leaves behind then goes with the directory.
            ("dynamic_shared_memory_type", "mmap"),
        ];
        command.extend(settings_as_arguments(&defaults));
        command.extend_from_slice(settings);
        LocalServer::start(keeper, program(command, port))
    })
}

pub(super) fn program(command: Vec<String>, port: u16) -> Program {
    // "Fast" shutdown: ends sessions, writes a checkpoint, and waits until replicas have all.
    Program { command, port, is_ready, stop: Signal::INT, after_kill: remove_shared_memory }
}

/// `-c name=value` for each.
pub(super) fn settings_as_arguments(settings: &[(&str, &str)]) -> Vec<String> {
    settings.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]).collect()
}

fn new_keeper() -> Result<Keeper, ServerError> {
    // "Immediate" shutdown.
    Keeper::new(Account::but_not_root("postgres"), "QUIT")
}

/// The server writes its state into a file of its own directory, so no other server can be taken for it.
fn is_ready(directory: &Path, _port: u16, processes: &[Process]) -> bool {
    let Some([id, .., status]) = pid_file(directory) else { return false };
    // A replica serves reads: `standby`.
    matches!(status.as_str(), "ready" | "standby")
        && processes.first().is_some_and(|first| first.id().to_string() == id)
}

/// The first eight lines of `postmaster.pid`: process id, data directory, start time, port, socket directory, address,
/// shared memory key and id, status.
fn pid_file(directory: &Path) -> Option<[String; 8]> {
    let file = std::fs::read_to_string(directory.join("data/postmaster.pid")).ok()?;
    let lines: Vec<String> = file.lines().map(|line| line.trim().to_owned()).collect();
    lines.first_chunk().cloned()
}

/// A crash leaves a small System V segment behind, of which a machine has a limited number.
fn remove_shared_memory(directory: &Path) {
    let Some([.., shared_memory, _]) = pid_file(directory) else { return };
    if let Some(id) = shared_memory.split_whitespace().nth(1) {
        // Best effort: the next server does it too, if there is one.
        let _ = Command::new("ipcrm").args(["-m", id]).output();
    }
}

/// Makes a fresh `data`, a copy of a template: copying is faster than making.
fn make_data_directory(keeper: &mut Keeper, binaries: &Path) -> Result<(), ServerError> {
    let template = pool::directory("template-postgres", || {
        let mut keeper = new_keeper()?;
        run_initdb(&mut keeper, binaries)?;
        Ok(keeper)
    })?;
    keeper.run(&["cp", "-R", "-p", path(&template.join("data"))?, "data"])
}

/// Makes `data` a copy of what the server at this port has, which wants to be kept up to date from there.
fn copy_data_directory(keeper: &mut Keeper, binaries: &Path, port: u16) -> Result<(), ServerError> {
    let (copy, port) = (tool(binaries, "pg_basebackup"), port.to_string());
    let from = [path(&copy)?, "-h", "127.0.0.1", "-p", &port, "-U", "postgres"];
    keeper.run(&[&from[..], &["-D", "data", "-R", "-X", "stream", "-c", "fast", "--no-sync"]].concat())
}

fn run_initdb(keeper: &mut Keeper, binaries: &Path) -> Result<(), ServerError> {
    let initdb = binaries.join("initdb");
    let plain =
        [path(&initdb)?, "-D", "data", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync", "--locale=C"];
    // An order of words rather than of bytes, as in most databases: a test then notices who relies on bytes.
    let words = [&plain[..], &["--locale-provider=icu", "--icu-locale=en-US"]].concat();
    // From version 15 on, and only if built so.
    keeper.run(&words).or_else(|_| keeper.run(&plain))
}

/// The directory that LEASE_TEST_POSTGRES names; else the one with the binaries of the newest version.
fn find_binaries() -> Result<PathBuf, ServerError> {
    if let Some(named) = path_in("LEASE_TEST_POSTGRES") {
        return Ok(named);
    }
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&in_path).collect();
    // Debian keeps them out of the PATH. The variable is for a test of this package.
    let debian = std::env::var_os("LEASE_TEST_DEBIAN_POSTGRES").unwrap_or("/usr/lib/postgresql".into());
    let debian = std::fs::read_dir(debian).into_iter().flatten().flatten();
    directories.extend(debian.map(|version| version.path().join("bin")));
    let found = directories.into_iter().filter(|directory| directory.join("initdb").exists());
    found
        .filter_map(|directory| Some((version(&directory.join("postgres"))?, directory)))
        .max()
        .map(|(_, directory)| directory)
        .ok_or_else(|| ServerError::NoServer("no initdb and postgres in PATH or /usr/lib/postgresql/*/bin".into()))
}

/// Another binary of the same version: the directory may have links to some only.
fn tool(binaries: &Path, name: &str) -> PathBuf {
    let postgres = binaries.join("postgres");
    postgres.canonicalize().unwrap_or(postgres).with_file_name(name)
}

fn version(postgres: &Path) -> Option<Vec<u32>> {
    let output = Command::new(postgres).arg("--version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// `postgres (PostgreSQL) 15.9 (Debian 15.9-0+deb12u1)`, `postgres (PostgreSQL) 18beta1`.
fn parse_version(line: &str) -> Option<Vec<u32>> {
    let version = line.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
    let numbers = version.split(|letter: char| !letter.is_ascii_digit()).filter_map(|number| number.parse().ok());
    Some(numbers.collect()).filter(|numbers: &Vec<u32>| !numbers.is_empty())
}

fn path(path: &Path) -> Result<&str, ServerError> {
    path.to_str().ok_or_else(|| ServerError::Failed(format!("{} is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let nine = parse_version("postgres (PostgreSQL) 9.6.24").unwrap();
        let fifteen = parse_version("postgres (PostgreSQL) 15.9 (Debian 15.9-0+deb12u1)").unwrap();
        let beta = parse_version("postgres (PostgreSQL) 18beta1").unwrap();
        assert!(nine < fifteen && fifteen < beta, "{nine:?} {fifteen:?} {beta:?}");
        assert_eq!(parse_version("not a server"), None);
    }
}
