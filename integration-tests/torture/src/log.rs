//! Where a process writes down what it sees.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use lease_core::{Clock, SystemClock};

use crate::record::{Entry, Event};

/// A process's own file of [`Entry`] lines. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    file: Arc<File>,
    by: String,
}

impl Log {
    /// The log of this process, `<by>.jsonl` in the directory of the case.
    pub(crate) fn open(directory: &Path, by: &str) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(directory.join(format!("{by}.jsonl")))?;
        Ok(Self { file: Arc::new(file), by: by.to_owned() })
    }

    /// Something has happened now.
    pub(crate) fn write(&self, event: Event) {
        self.write_at(now(), event);
    }

    /// Something has happened at this moment. What has been written stays, even if this process is killed next.
    pub(crate) fn write_at(&self, at: u64, event: Event) {
        let entry = Entry { at, by: self.by.clone(), event };
        let written = serde_json::to_string(&entry)
            .map_err(io::Error::other)
            // One `write` a line: a line is there as a whole or not at all.
            .and_then(|line| (&*self.file).write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = written {
            // A record with gaps would be judged as if nothing had happened in them.
            eprintln!("{}: cannot write the record: {error}", self.by);
            std::process::exit(1);
        }
    }
}

/// This moment, as it is written in the record.
pub(crate) fn now() -> u64 {
    nanoseconds(SystemClock.now().since_origin())
}

/// A span, or a moment since its clock's origin, as it is written in the record.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
