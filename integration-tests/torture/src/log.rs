//! The file to which a process writes its entries of the record.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use lease_core::{Clock, SystemClock};

use crate::record::{Entry, Event};

/// The file of a process, with a line for each [`Entry`]. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    file: Arc<File>,
    by: String,
}

impl Log {
    /// Opens the file of this process, `<by>.jsonl` in the directory of the case.
    pub(crate) fn open(directory: &Path, by: &str) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(directory.join(format!("{by}.jsonl")))?;
        Ok(Self { file: Arc::new(file), by: by.to_owned() })
    }

    /// Writes an event of this moment.
    pub(crate) fn write(&self, event: Event) {
        self.write_at(now(), event);
    }

    /// Writes an event of a given moment. The entry stays, even if this process is killed next.
    pub(crate) fn write_at(&self, at: u64, event: Event) {
        let entry = Entry { at, by: self.by.clone(), event };
        let written = serde_json::to_string(&entry)
            .map_err(io::Error::other)
            // With one `write` for each line, no line is written in part.
            .and_then(|line| (&*self.file).write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = written {
            // A record with gaps would be judged as if nothing had happened in them.
            eprintln!("{}: cannot write the record: {error}", self.by);
            std::process::exit(1);
        }
    }
}

/// Returns this moment in the format of the record.
pub(crate) fn now() -> u64 {
    nanoseconds(SystemClock.now().since_origin())
}

/// Converts a span, or a moment since its clock's origin, to the format of the record.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
