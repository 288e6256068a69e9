//! What a run of many test processes has in common: servers that outlive the test which has started them.
//!
//! `integration-tests/run` names an empty directory in `LEASE_TEST_POOL`. Its files say what there is: of each server its kind and
//! settings (in the file's name), its keeper, and how it is started. The keeper of such a server waits for the next test, and ends with
//! the run, which sends `end` to each keeper that it finds here. Without the variable, servers go from test to test inside one process.

use std::{
    any::Any,
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use lease_core::GrantId;

use crate::{
    ServerError,
    installed::path_in,
    keeper::Keeper,
    local_server::Record,
    server::{Kind, Server},
    waiting::pass,
};

static RUN: LazyLock<Option<PathBuf>> = LazyLock::new(|| path_in("LEASE_TEST_POOL"));

/// Servers of this process that have served a test, by kind and settings.
static IDLE: Mutex<Vec<(String, Box<dyn Any + Send>)>> = Mutex::new(Vec::new());

/// Directories of this process that are made once.
static DIRECTORIES: Mutex<Vec<(&str, Keeper)>> = Mutex::new(Vec::new());

/// Takes servers that have served a test together and wait for the next: one, or the nodes of a cluster.
pub(crate) fn take<K: Kind>(settings: &[(&str, &str)], count: usize) -> Option<Vec<Server<K>>> {
    let idle = name_of("idle", K::NAME, count, settings);
    let Some(run) = &*RUN else {
        let mut servers = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        let at = servers.iter().position(|(name, _)| *name == idle)?;
        return servers.swap_remove(at).1.downcast().ok().map(|servers| *servers);
    };
    let files = fs::read_dir(run).ok()?.flatten().map(|file| file.path());
    files.filter(|file| file.with_extension("").ends_with(&idle)).find_map(|file| {
        let records = fs::read_to_string(&file).ok()?;
        // Whoever removes it has it: of several processes, one succeeds.
        fs::remove_file(&file).ok()?;
        take_all(&records).ok()
    })
}

/// The right to start a server: it ends with this value.
#[derive(Debug)]
pub(crate) struct Turn(Option<File>);

/// Takes a server that waits for the next test, or the turn to start one. A kind that [starts
/// alone](Kind::STARTS_ALONE) has one turn in a run: whoever waits for it takes what other tests give back meanwhile.
pub(crate) async fn take_or_turn<K: Kind>(settings: &[(&str, &str)]) -> Result<Server<K>, Turn> {
    loop {
        if let Some(server) = take(settings, 1).and_then(|mut servers| servers.pop()) {
            return Ok(server);
        }
        let Some(run) = RUN.as_deref().filter(|_| K::STARTS_ALONE) else { return Err(Turn(None)) };
        let path = run.join(name_of("turn", K::NAME, 1, &[]));
        let Ok(file) = OpenOptions::new().create(true).append(true).open(path) else { return Err(Turn(None)) };
        if file.try_lock().is_ok() {
            return Err(Turn(Some(file)));
        }
        pass(Duration::from_millis(50)).await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(file) = self.0.take() {
            // It would be unlocked anyway, once no child process has it.
            let _ = file.unlock();
        }
    }
}

fn take_all<K: Kind>(records: &str) -> Result<Vec<Server<K>>, ServerError> {
    records.split_terminator("\n\n").map(|record| Server::take(record.parse()?)).collect()
}

/// Leaves servers to the next test. They must be in good order.
pub(crate) fn give<K: Kind>(settings: &[(&str, &str)], servers: &[Server<K>]) {
    let idle = name_of("idle", K::NAME, servers.len(), settings);
    let Some(run) = &*RUN else {
        let servers: Vec<_> = servers.iter().map(Server::handle).collect();
        return IDLE.lock().unwrap_or_else(PoisonError::into_inner).push((idle, Box::new(servers)));
    };
    // Those that cannot be given end with this process.
    let given: Vec<_> = servers.iter().map_while(|server| server.give().ok()).collect();
    let records: String = given.iter().map(Record::to_string).collect();
    let name = format!("{idle}.{}", given.first().map_or(0, |record| record.keeper));
    if given.len() < servers.len() || write(&run.join(name), &records).is_err() {
        // The run is over: nobody else would end them.
        drop(given.into_iter().map(Server::<K>::take).collect::<Vec<_>>());
    }
}

/// The server that all tests of a run share, started by the first who asks; nothing if no run has been declared.
pub(crate) fn shared<K: Kind>() -> Option<Result<u16, ServerError>> {
    let run = RUN.as_deref()?;
    let start = || K::start(&[], &K::arguments(&[]))?.give();
    Some(once(run, &name_of("shared", K::NAME, 1, &[]), start).map(|record| record.port))
}

/// A directory that is made once, by the first who asks, for the run or for this process.
pub(crate) fn directory(
    name: &'static str,
    make: impl FnOnce() -> Result<Keeper, ServerError>,
) -> Result<PathBuf, ServerError> {
    if let Some(run) = &*RUN {
        return Ok(once(run, name, || Record::of_directory(make()?))?.directory);
    }
    let mut directories = DIRECTORIES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, keeper)) = directories.iter().find(|(other, _)| *other == name) {
        return Ok(keeper.directory().to_owned());
    }
    let keeper = make()?;
    let directory = keeper.directory().to_owned();
    directories.push((name, keeper));
    Ok(directory)
}

/// Whether no other process of the run has taken this port.
pub(crate) fn claims_port(port: u16) -> bool {
    RUN.as_deref().is_none_or(|run| File::create_new(run.join(format!("port-{port}"))).is_ok())
}

fn once(run: &Path, name: &str, make: impl FnOnce() -> Result<Record, ServerError>) -> Result<Record, ServerError> {
    let path = run.join(name);
    let failed = |error| ServerError::failed("the pool of the run", error);
    let lock = OpenOptions::new().create(true).append(true).open(run.join(format!("lock-{name}"))).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if let Ok(record) = fs::read_to_string(&path) {
        return record.parse();
    }
    let record = make()?;
    write(&path, &record.to_string())?;
    Ok(record)
}

/// Writes a file that is there as a whole or not at all.
fn write(path: &Path, text: &str) -> Result<(), ServerError> {
    let failed = |error| ServerError::failed("the pool of the run", error);
    let new = path.with_file_name(format!("new-{}", GrantId::random()));
    fs::write(&new, text).and_then(|()| fs::rename(&new, path)).map_err(failed)
}

/// A file's name without a dot.
fn name_of(what: &str, kind: &str, count: usize, settings: &[(&str, &str)]) -> String {
    let settings: Vec<String> = settings.iter().map(|(name, value)| format!("-{name}={value}")).collect();
    format!("{what}-{count}-{kind}{}", settings.concat()).replace(['.', '/', ' '], "_")
}
