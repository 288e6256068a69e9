//! The fake as a process of its own, from the binary of this package.

use std::{
    env,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use rustix::process::Signal;

use crate::{
    ServerError,
    account::Account,
    http,
    keeper::Keeper,
    local_server::{LocalServer, Program},
    ports::on_a_free_port,
    processes::Process,
};

/// The binary, which `cargo nextest run --workspace` builds beside the tests.
const BINARY: &str = "object-storage";

/// What it says when another process has its port.
const TAKEN: &str = "Address already in use";

/// Starts one, by a command that is put in front of it, if there is one.
pub(super) fn start(under: &[String], _settings: &[String]) -> Result<LocalServer, ServerError> {
    let binary = binary()?;
    on_a_free_port(TAKEN, |port| {
        let mut command = under.to_vec();
        command.extend([binary.to_string_lossy().into_owned(), port.to_string()]);
        LocalServer::start(Keeper::new(Account::current(), "TERM")?, program(command, port))
    })
}

pub(super) fn program(command: Vec<String>, port: u16) -> Program {
    Program { command, port, is_ready, stop: Signal::TERM, after_kill: |_| {} }
}

/// It says which process it is, so no other server can be taken for it.
fn is_ready(_directory: &Path, port: u16, processes: &[Process]) -> bool {
    let id = http::get((Ipv4Addr::LOCALHOST, port).into(), "/-/id");
    id.is_some_and(|id| processes.iter().any(|process| process.id().to_string() == id))
}

/// The binary beside the tests; built when it is not there, or older than its source: cargo builds it with the tests of this
/// package, but not with those of others.
fn binary() -> Result<PathBuf, ServerError> {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock();
    let failed = |error: std::io::Error| ServerError::failed("cannot find the fake of an object storage", error);
    let test = env::current_exe().map_err(failed)?;
    // A test is in `deps` of its profile, another program in the profile itself.
    let profile =
        test.parent().filter(|directory| directory.ends_with("deps")).and_then(Path::parent).or(test.parent());
    let profile = profile.ok_or_else(|| ServerError::Failed("this program is in no directory".into()))?;
    let binary = profile.join(BINARY);
    let written = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = ["src/object_storage/fake.rs", "src/object_storage/objects.rs", "src/bin/object-storage.rs"];
    let newest = sources.iter().filter_map(|source| written(&package.join(source))).max();
    if written(&binary).is_some_and(|built| newest.is_none_or(|newest| built >= newest)) {
        return Ok(binary);
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--package", "integration-tests", "--bin", BINARY]).current_dir(package);
    if let Some(target) = profile.parent() {
        cargo.arg("--target-dir").arg(target);
    }
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let output = cargo.output().map_err(failed)?;
    match output.status.success() {
        true => Ok(binary),
        false => Err(ServerError::Failed(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}
