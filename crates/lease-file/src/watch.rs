//! Watches the directory for changes, by reading it again and again.
//!
//! It is a thread, and not a task, because it outlives the runtime that first asked for it.

use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    sync::Weak,
    thread,
    time::{Duration, SystemTime},
};

use lease_core::{Clock, LeaseName, SystemClock};
use lease_document::{Change, Changes};

use crate::files::Files;

/// The pause between two looks. One that takes long is followed by a pause ten times as long.
const PAUSE: Duration = Duration::from_millis(100);

/// Starts to watch, until the files are dropped.
pub(crate) fn start(files: Weak<Files>, changes: Changes) -> io::Result<()> {
    thread::Builder::new().name("lease-file".to_owned()).spawn(move || run(&files, &changes)).map(drop)
}

fn run(files: &Weak<Files>, changes: &Changes) {
    let mut watched = Watched::default();
    let mut is_connected = false;
    while let Some(files) = files.upgrade() {
        let began = SystemClock.now();
        let outcome = watched.look(&files, changes);
        if outcome.is_ok() && !is_connected {
            changes.connected();
        } else if outcome.is_err() && is_connected {
            changes.disconnected();
        }
        is_connected = outcome.is_ok();
        drop(files);
        thread::sleep(PAUSE.max(SystemClock.now().saturating_since(began) * 10));
    }
}

/// What the last look has shown.
#[derive(Debug, Default)]
struct Watched {
    documents: HashMap<LeaseName, Shown>,
    looks: u64,
}

#[derive(Debug)]
struct Shown {
    tag: String,
    modified: Option<SystemTime>,
    /// The time of modification has stood for a whole pause, so what was read is what it belongs to: it is coarse.
    is_settled: bool,
    look: u64,
}

impl Watched {
    fn look(&mut self, files: &Files, changes: &Changes) -> io::Result<()> {
        files.now()?;
        let is_first = self.looks == 0;
        self.looks += 1;
        let mut outcome = Ok(());
        files.walk(&mut |name, directory| {
            if let Err(error) = self.look_at(files, changes, is_first, name, directory) {
                outcome = Err(error);
            }
        })?;
        let look = self.looks;
        self.documents.retain(|name, shown| {
            let is_there = shown.look == look;
            if !is_there {
                changes.notify(name, Change::Deleted);
            }
            is_there
        });
        outcome
    }

    fn look_at(
        &mut self,
        files: &Files,
        changes: &Changes,
        is_first: bool,
        name: LeaseName,
        directory: &Path,
    ) -> io::Result<()> {
        let modified = fs::metadata(directory).and_then(|metadata| metadata.modified()).ok();
        let known = self.documents.get_mut(&name);
        let is_settled = known.as_ref().is_some_and(|shown| shown.modified == modified && modified.is_some());
        if let Some(shown) = known {
            shown.look = self.looks;
            if is_settled && shown.is_settled {
                return Ok(());
            }
        }
        let Some(read) = files.read(&name)? else { return Ok(()) };
        let is_news = self.documents.get(&name).is_none_or(|shown| shown.tag != read.tag);
        if is_news && !is_first {
            changes.notify(&name, Change::Written(&read.value));
        }
        self.documents.insert(name, Shown { tag: read.tag, modified, is_settled, look: self.looks });
        Ok(())
    }
}
