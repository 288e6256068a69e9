//! The harness of a directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use lease_core::{LeaseName, LeaseStore};
use lease_document::DocumentStore;
use lease_file::Directory;
use lease_testkit::{Harness, Injection};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::faults::{Faulty, State};

pub(crate) struct DirectoryHarness {
    leases: TempDir,
    backup: TempDir,
    faults: watch::Sender<State>,
}

/// A directory where the servers of a test run have their data, too.
pub(crate) fn directory() -> TempDir {
    match std::env::var_os("LEASE_TEST_DATA") {
        Some(data) => tempfile::tempdir_in(data).unwrap(),
        None => tempfile::tempdir().unwrap(),
    }
}

/// The directory of a lease.
pub(crate) fn find(root: &Path, name: &LeaseName) -> Option<PathBuf> {
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if fs::read_to_string(&path)
                .is_ok_and(|text| text.contains(&format!("\"name\":{:?},", name.as_str())))
            {
                return Some(directory);
            }
        }
    }
    None
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap().success());
}

impl DirectoryHarness {
    pub(crate) async fn start() -> Self {
        Self { leases: directory(), backup: directory(), faults: watch::Sender::new(State::default()) }
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        self.faults.send_modify(change);
    }
}

#[async_trait]
impl Harness for DirectoryHarness {
    async fn store(&self) -> Arc<dyn LeaseStore> {
        let directory = Directory::open(self.leases.path()).await.unwrap();
        Arc::new(DocumentStore::new(Faulty::new(directory, self.faults.subscribe())))
    }

    async fn freeze(&self) -> Injection {
        self.set(|state| state.is_frozen = true);
        Injection::Done
    }

    async fn thaw(&self) {
        self.set(|state| state.is_frozen = false);
    }

    async fn cut(&self) -> Injection {
        self.set(|state| state.is_cut = true);
        Injection::Done
    }

    async fn lose_answers(&self) -> Injection {
        self.set(|state| state.loses_answers = true);
        Injection::Done
    }

    async fn delay_answers(&self, delay: Duration) -> Injection {
        self.set(|state| state.answer_delay = delay);
        Injection::Done
    }

    async fn delay_requests(&self, delay: Duration) -> Injection {
        self.set(|state| state.request_delay = delay);
        Injection::Done
    }

    async fn heal(&self) {
        self.set(|state| *state = State { is_frozen: state.is_frozen, ..State::default() });
    }

    async fn restart(&self) -> Injection {
        let injection = self.cut().await;
        tokio::task::yield_now().await;
        self.heal().await;
        injection
    }

    async fn back_up(&self) -> Injection {
        copy(self.leases.path(), self.backup.path());
        Injection::Done
    }

    async fn restore_backup(&self) {
        for entry in fs::read_dir(self.leases.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            }
        }
        copy(self.backup.path(), self.leases.path());
    }

    async fn remove_record(&self, name: &LeaseName) -> Injection {
        if let Some(directory) = find(self.leases.path(), name) {
            fs::remove_dir_all(directory).unwrap();
        }
        Injection::Done
    }
}
