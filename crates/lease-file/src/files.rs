//! The documents in a directory. Everything here blocks.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use lease_core::{GrantId, LeaseName};
use lease_document::Sample;

use crate::{
    epoch,
    host::Boot,
    key,
    versions::{self, Prepared, Stored, Written},
};

/// Where files are written before they get their names.
const SCRATCH: &str = ".new";

/// A file that has waited for its name for so long is that of a process that was killed.
const ABANDONED: Duration = Duration::from_secs(86_400);

/// The documents in a directory, each as the files of a directory of its own.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) root: PathBuf,
    boot: Boot,
}

/// A document, and who wrote it.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) tag: String,
    pub(crate) value: Vec<u8>,
    /// The host has started anew since: the holder is dead.
    pub(crate) is_of_earlier_boot: bool,
}

impl Files {
    /// Opens a directory, and finds out whether this process may do there what it has to.
    pub(crate) fn open(root: PathBuf, boot: Boot) -> io::Result<Self> {
        let files = Self { root, boot };
        match fs::create_dir(files.root.join(SCRATCH)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        epoch::begin(&files.root, &files.boot, files.scratch())?;
        // What cannot be removed is harmless.
        let _ = files.remove_abandoned();
        Ok(files)
    }

    /// Removes what processes that were killed have left. It is renamed first: should its process go on after all, the name that it
    /// knows is gone, and it never puts a half-removed directory into its place.
    fn remove_abandoned(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join(SCRATCH))? {
            let entry = entry?;
            if entry.metadata()?.modified()?.elapsed().is_ok_and(|age| age > ABANDONED) {
                let removed = self.scratch();
                fs::rename(entry.path(), &removed)?;
                if fs::remove_file(&removed).is_err() {
                    fs::remove_dir_all(&removed)?;
                }
            }
        }
        Ok(())
    }

    /// Returns what the store's clock shows. Fails if the directory is not what it was when it was opened.
    pub(crate) fn now(&self) -> io::Result<Sample> {
        epoch::now(&self.root, &self.boot)
    }

    pub(crate) fn read(&self, name: &LeaseName) -> io::Result<Option<Read>> {
        versions::newest(&key::path(&self.root, name))?.map(|stored| self.parse(stored)).transpose()
    }

    /// Writes a version on condition that the newest has this tag, or that there is none. Returns the new tag.
    pub(crate) fn write(&self, name: &LeaseName, value: &[u8], expected: Option<&str>) -> io::Result<Written> {
        let directory = key::path(&self.root, name);
        let content = [self.boot.0.as_bytes(), b"\n", value].concat();
        let Some(expected) = expected else {
            if let Some(parent) = directory.parent() {
                fs::create_dir_all(parent)?;
            }
            return Prepared::first(self.scratch(), content)?.create(&directory);
        };
        let written = Prepared::next(self.scratch(), content)?.replace(&directory, expected)?;
        if let Written::Done(stored) = &written {
            versions::remove_before(&directory, stored.number);
        }
        Ok(written)
    }

    /// Returns all names, in their order.
    pub(crate) fn names(&self) -> io::Result<Vec<LeaseName>> {
        let mut names = Vec::new();
        self.walk(&mut |name, _| names.push(name))?;
        names.sort();
        Ok(names)
    }

    /// Visits the directory of every document.
    pub(crate) fn walk(&self, visit: &mut dyn FnMut(LeaseName, &Path)) -> io::Result<()> {
        walk(&self.root, &mut Vec::new(), visit)
    }

    fn scratch(&self) -> PathBuf {
        self.root.join(SCRATCH).join(GrantId::random().to_string())
    }

    fn parse(&self, stored: Stored) -> io::Result<Read> {
        let tag = stored.tag();
        let mut content = stored.content;
        let end = content.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its newest file is no version"))?;
        let value = content.split_off(end + 1);
        Ok(Read { tag, value, is_of_earlier_boot: content[..end] != *self.boot.0.as_bytes() })
    }
}

fn walk(directory: &Path, parts: &mut Vec<String>, visit: &mut dyn FnMut(LeaseName, &Path)) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(part) = entry.file_name().into_string() else { continue };
        if part.starts_with('.') {
            continue;
        }
        let is_continued = key::is_continued(&part);
        parts.push(part);
        if is_continued {
            walk(&entry.path(), parts, visit)?;
        } else if let Some(name) = key::name(parts) {
            visit(name, &entry.path());
        }
        parts.pop();
    }
    Ok(())
}
