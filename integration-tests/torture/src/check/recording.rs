//! Reads the record of a case.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use lease_core::LeaseName;

use super::grants::{Grant, grants};
use crate::record::{Case, Entry, Event, FROZEN, KILLED, NETWORK_OF};

/// A run, with the entries of all its processes.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The case.
    pub case: Case,
    /// All entries: those of a process in the order in which it wrote them, one process after the other.
    pub entries: Vec<Entry>,
    /// All grants, by name, and then in the order in which they began.
    pub grants: Vec<Grant>,
    /// All faults, in the order in which they began.
    pub faults: Vec<FaultSpan>,
    /// The first moment in it.
    pub began: u64,
    /// The last moment in it.
    pub ended: u64,
}

/// A fault from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultSpan {
    /// The fault.
    pub fault: String,
    /// The target of the fault.
    pub target: String,
    /// The beginning.
    pub from: u64,
    /// The end, or `None` if the fault has not ended.
    pub until: Option<u64>,
}

/// The error of a record that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file or directory cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// `case.json` is no case.
    #[error("{path}: {source}", path = path.display())]
    NotACase {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// A line is no entry.
    #[error("{path}:{line}: {source}", path = path.display())]
    NotAnEntry {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The cause.
        source: serde_json::Error,
    },
    /// A grant that no store can have made.
    #[error("a grant of {name:?} with token {token} to {worker:?} is impossible")]
    Impossible {
        /// The name.
        name: String,
        /// The token.
        token: u64,
        /// The worker that recorded it.
        worker: String,
    },
}

impl Recording {
    /// Reads the record of a case: `case.json`, and all `*.jsonl` beside it.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be read, or a line is no entry. Only the last line of a file may be incomplete: its
    /// process was killed during the write.
    pub fn read(directory: &Path) -> Result<Self, ReadError> {
        let path = directory.join("case.json");
        let case = serde_json::from_str(&read(&path)?).map_err(|source| ReadError::NotACase { path, source })?;
        let mut paths = fs::read_dir(directory)
            .and_then(|files| files.map(|file| Ok(file?.path())).collect::<io::Result<Vec<_>>>())
            .map_err(|source| ReadError::Unreadable { path: directory.to_owned(), source })?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        paths.sort();
        let mut entries = Vec::new();
        for path in paths {
            entries.extend(read_entries(&path)?);
        }
        Self::new(case, entries)
    }

    /// Creates a recording of these entries; those of a process are in the order in which it wrote them.
    ///
    /// # Errors
    ///
    /// Returns an error if an entry is a grant that no store can have made.
    pub fn new(case: Case, mut entries: Vec<Entry>) -> Result<Self, ReadError> {
        entries.sort_by(|one, two| one.by.cmp(&two.by));
        Ok(Self {
            grants: grants(&entries)?,
            faults: faults(&entries),
            began: entries.iter().map(|entry| entry.at).min().unwrap_or(0),
            ended: entries.iter().map(|entry| entry.at).max().unwrap_or(0),
            case,
            entries,
        })
    }

    /// Returns the grants, grouped by name.
    pub fn grants_by_name(&self) -> impl Iterator<Item = &[Grant]> {
        self.grants.chunk_by(|one, two| one.name == two.name)
    }

    /// Returns all names that workers tried to acquire, in order.
    #[must_use]
    pub fn names(&self) -> Vec<LeaseName> {
        let asked = self.entries.iter().filter_map(|entry| match &entry.event {
            Event::Asked { name, .. } => LeaseName::new(name).ok(),
            _ => None,
        });
        let mut names: Vec<_> = asked.chain(self.grants.iter().map(|grant| grant.name.clone())).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Returns all workers, in order: the processes with attempts.
    #[must_use]
    pub fn workers(&self) -> BTreeSet<&str> {
        let asked = self.entries.iter().filter(|entry| matches!(entry.event, Event::Asked { .. }));
        asked.map(|entry| entry.by.as_str()).collect()
    }

    /// Returns whether a process is a worker.
    #[must_use]
    pub fn is_worker(&self, process: &str) -> bool {
        self.workers().contains(process)
    }

    /// Returns when a process was killed, if it was.
    #[must_use]
    pub fn killed(&self, process: &str) -> Option<u64> {
        self.faults.iter().find(|span| span.hits(KILLED, process)).map(|span| span.from)
    }

    /// Returns the first moment from `from` on at which a process could act, or `None` if it never could. `allowance` is the time
    /// in which it need not act yet; `did` is when it acted, if it did.
    #[must_use]
    pub fn able(&self, process: &str, from: u64, allowance: u64, did: Option<u64>) -> Option<u64> {
        let mut able = from;
        for span in self.faults.iter().filter(|span| span.hits(FROZEN, process)) {
            let until = span.until.unwrap_or(u64::MAX);
            let is_in_the_way = did.is_none_or(|did| span.from <= did);
            if is_in_the_way && span.from <= able.saturating_add(allowance) && until > able {
                able = until;
            }
        }
        let lives = self.killed(process).is_none_or(|killed| killed > able.saturating_add(allowance));
        (able < u64::MAX && lives).then_some(able)
    }

    /// Formats a moment in seconds of the run.
    #[must_use]
    pub fn second(&self, at: u64) -> String {
        format!("{:.6} s", nanoseconds(at, self.began) as f64 / 1e9)
    }
}

impl FaultSpan {
    /// Returns the process that the fault affects: the worker, also if only its network has the fault, or the server.
    #[must_use]
    pub fn victim(&self) -> &str {
        self.target.strip_prefix(NETWORK_OF).unwrap_or(&self.target)
    }

    /// Returns whether it is this fault of this target.
    #[must_use]
    pub fn hits(&self, fault: &str, target: &str) -> bool {
        self.fault == fault && self.target == target
    }
}

/// Returns the time from `since` to `at`, which is negative if `at` is earlier.
#[must_use]
pub fn nanoseconds(at: u64, since: u64) -> i64 {
    i64::try_from(i128::from(at) - i128::from(since)).unwrap_or(if at > since { i64::MAX } else { i64::MIN })
}

fn read(path: &Path) -> Result<String, ReadError> {
    fs::read_to_string(path).map_err(|source| ReadError::Unreadable { path: path.to_owned(), source })
}

fn read_entries(path: &Path) -> Result<Vec<Entry>, ReadError> {
    let bytes = fs::read(path).map_err(|source| ReadError::Unreadable { path: path.to_owned(), source })?;
    let mut entries = Vec::new();
    for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        match serde_json::from_slice(line) {
            Ok(entry) => entries.push(entry),
            Err(_) if !line.ends_with(b"\n") => {}
            Err(source) => return Err(ReadError::NotAnEntry { path: path.to_owned(), line: index + 1, source }),
        }
    }
    Ok(entries)
}

fn faults(entries: &[Entry]) -> Vec<FaultSpan> {
    let mut spans: Vec<FaultSpan> = Vec::new();
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort_by_key(|entry| entry.at);
    for entry in sorted {
        match &entry.event {
            Event::FaultBegan { fault, target } => {
                spans.push(FaultSpan { fault: fault.clone(), target: target.clone(), from: entry.at, until: None });
            }
            Event::FaultEnded { fault, target } => {
                if let Some(span) = spans.iter_mut().find(|span| span.hits(fault, target) && span.until.is_none()) {
                    span.until = Some(entry.at);
                }
            }
            _ => {}
        }
    }
    spans
}
