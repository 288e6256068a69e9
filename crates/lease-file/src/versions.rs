//! The versions of one document: the files of a directory, named by their numbers.
//!
//! A version is written by `link(2)` of a finished file to the next number, which fails if that is there. So no lock is held, and
//! a process that is stopped in the middle stops nobody. The newest version is never removed, and neither is the one before.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

/// How often a read begins anew because the files have changed meanwhile.
const ROUNDS: usize = 16;

/// A version as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) number: u64,
    pub(crate) content: Vec<u8>,
}

impl Stored {
    /// What a write compares. The hash tells versions of the same number apart after a loss of data.
    pub(crate) fn tag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.content.hash(&mut hasher);
        format!("{}-{:016x}", self.number, hasher.finish())
    }
}

/// Reads the newest version. Returns `None` if there is no directory.
pub(crate) fn newest(directory: &Path) -> io::Result<Option<Stored>> {
    for _ in 0..ROUNDS {
        let Some(first) = greatest(directory)? else { return Ok(None) };
        // While files come and go, a list may show neither the old nor the new one: two lists must agree.
        let Some(number) = first else { continue };
        match fs::read(directory.join(number.to_string())) {
            Ok(content) if greatest(directory)? == Some(Some(number)) => return Ok(Some(Stored { number, content })),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(ErrorKind::ResourceBusy, "its files change all the time, or there are none in its directory"))
}

/// Returns the greatest number in a directory; `None` if there is no directory, `Some(None)` if nothing is in it.
fn greatest(directory: &Path) -> io::Result<Option<Option<u64>>> {
    Ok(numbers(directory)?.map(|numbers| numbers.into_iter().max()))
}

fn numbers(directory: &Path) -> io::Result<Option<Vec<u64>>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    Ok(Some(numbers))
}

/// What became of a write.
#[derive(Debug)]
pub(crate) enum Written {
    Done(Stored),
    /// The document has another version.
    Conflict,
    /// It may have been done.
    Unknown(io::Error),
}

/// A version that is written, and not yet in its place.
#[derive(Debug)]
pub(crate) struct Prepared {
    scratch: PathBuf,
    content: Vec<u8>,
}

impl Prepared {
    /// Writes the file, or the directory of a first version, at a path of its own on the same file system.
    pub(crate) fn next(scratch: PathBuf, content: Vec<u8>) -> io::Result<Self> {
        let prepared = Self { scratch, content };
        write_all(&prepared.scratch, &prepared.content)?;
        Ok(prepared)
    }

    /// Like [`next`](Self::next), for a first version.
    pub(crate) fn first(scratch: PathBuf, content: Vec<u8>) -> io::Result<Self> {
        let prepared = Self { scratch, content };
        fs::create_dir(&prepared.scratch)?;
        write_all(&prepared.scratch.join("1"), &prepared.content)?;
        sync(&prepared.scratch)?;
        Ok(prepared)
    }

    /// Makes the directory of a document, with its first version in it.
    pub(crate) fn create(self, directory: &Path) -> io::Result<Written> {
        match fs::rename(&self.scratch, directory) {
            Ok(()) => Ok(self.done(directory.parent().unwrap_or(directory), 1)),
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                Ok(Written::Conflict)
            }
            Err(error) => Err(error),
        }
    }

    /// Puts the version behind the one that has this tag.
    pub(crate) fn replace(self, directory: &Path, tag: &str) -> io::Result<Written> {
        let Some(number) = tag.split_once('-').and_then(|(number, _)| number.parse::<u64>().ok()) else {
            return Ok(Written::Conflict);
        };
        let content = match fs::read(directory.join(number.to_string())) {
            Ok(content) => content,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Written::Conflict),
            Err(error) => return Err(error),
        };
        if (Stored { number, content }).tag() != tag {
            return Ok(Written::Conflict);
        }
        match number.checked_add(1) {
            Some(next) => self.link(directory, next),
            None => {
                Err(io::Error::new(ErrorKind::InvalidData, "there is no greater number than that of its newest file"))
            }
        }
    }

    fn link(self, directory: &Path, number: u64) -> io::Result<Written> {
        let path = directory.join(number.to_string());
        match fs::hard_link(&self.scratch, &path) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => {
                return Ok(Written::Conflict);
            }
            Err(error) => return Err(error),
        }
        // This process may have been stopped before the link for so long that others wrote this number, wrote further ones, and
        // removed it: then there is a greater one, because the newest is never removed.
        match newest(directory) {
            Ok(Some(newest)) if newest.number == number => Ok(self.done(directory, number)),
            Ok(_) => {
                let _ = fs::remove_file(&path);
                Ok(Written::Conflict)
            }
            Err(error) => Ok(Written::Unknown(error)),
        }
    }

    fn done(mut self, directory: &Path, number: u64) -> Written {
        if let Err(error) = sync(directory) {
            return Written::Unknown(error);
        }
        Written::Done(Stored { number, content: std::mem::take(&mut self.content) })
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // A directory that was renamed is gone.
        if fs::remove_file(&self.scratch).is_err() {
            let _ = fs::remove_dir_all(&self.scratch);
        }
    }
}

/// Puts a file into its place, unless there is one.
pub(crate) fn link_once(prepared: &Prepared, path: &Path) -> io::Result<()> {
    match fs::hard_link(&prepared.scratch, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Removes the versions that are two and more before this one. What cannot be removed is harmless.
pub(crate) fn remove_before(directory: &Path, newest: u64) {
    let Ok(Some(numbers)) = numbers(directory) else { return };
    for number in numbers.into_iter().filter(|number| *number < newest.saturating_sub(1)) {
        let _ = fs::remove_file(directory.join(number.to_string()));
    }
}

fn write_all(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(content)?;
    // After a loss of power the file has its content, or is not there.
    file.sync_all()
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(root: &Path, content: &str) -> Prepared {
        let scratch = root.join(format!(".new-{content}"));
        Prepared::next(scratch, content.into()).unwrap()
    }

    /// A document with its first version, in a directory of its own.
    fn document() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("job");
        let first = Prepared::first(root.path().join(".new-first"), b"one".into()).unwrap();
        assert!(matches!(first.create(&directory).unwrap(), Written::Done(_)));
        (root, directory)
    }

    fn write(root: &Path, directory: &Path, content: &str) -> Written {
        let last = newest(directory).unwrap().unwrap();
        let written = prepared(root, content).replace(directory, &last.tag()).unwrap();
        if let Written::Done(stored) = &written {
            remove_before(directory, stored.number);
        }
        written
    }

    #[test]
    fn s09_a_writer_that_was_stopped_before_its_link_does_not_win_by_a_number_that_was_removed() {
        let (root, directory) = document();
        let stopped = prepared(root.path(), "stopped");
        for content in ["two", "three", "four"] {
            assert!(matches!(write(root.path(), &directory, content), Written::Done(_)));
        }
        assert!(!directory.join("2").exists(), "the number is free");
        // It has compared the first version before.
        assert!(matches!(stopped.link(&directory, 2).unwrap(), Written::Conflict));
        assert_eq!(newest(&directory).unwrap().unwrap().content, b"four");
        assert!(!directory.join("2").exists());
    }

    #[test]
    fn one_of_two_writers_wins() {
        let (root, directory) = document();
        let first = newest(&directory).unwrap().unwrap();
        let (one, two) = (prepared(root.path(), "a"), prepared(root.path(), "b"));
        assert!(matches!(one.replace(&directory, &first.tag()).unwrap(), Written::Done(_)));
        assert!(matches!(two.replace(&directory, &first.tag()).unwrap(), Written::Conflict));
        assert_eq!(newest(&directory).unwrap().unwrap(), Stored { number: 2, content: b"a".into() });
        let again = Prepared::first(root.path().join(".new-again"), b"again".into()).unwrap();
        assert!(matches!(again.create(&directory).unwrap(), Written::Conflict));
        let left: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["job"], "nothing is left");
    }

    #[test]
    fn a_version_of_the_same_number_and_another_content_is_another_one() {
        let (root, directory) = document();
        fs::write(directory.join("1"), b"restored").unwrap();
        let first = Stored { number: 1, content: b"one".into() };
        let written = prepared(root.path(), "a").replace(&directory, &first.tag()).unwrap();
        assert!(matches!(written, Written::Conflict));
    }

    #[test]
    fn s19_a_directory_without_a_version_is_never_shown_as_free() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(newest(&root.path().join("job")).unwrap(), None);
        fs::create_dir(root.path().join("job")).unwrap();
        assert!(newest(&root.path().join("job")).is_err());
    }

    #[test]
    fn readers_never_miss_the_newest_version_while_writers_replace_it() {
        let (root, directory) = document();
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut last = 0;
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    match newest(&directory) {
                        Ok(stored) => {
                            let number = stored.expect("it is there").number;
                            assert!(number >= last, "{number} after {last}");
                            last = number;
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::ResourceBusy),
                    }
                }
                last
            });
            for number in 2..500 {
                assert!(matches!(write(root.path(), &directory, &number.to_string()), Written::Done(_)));
            }
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(reader.join().unwrap() > 1);
        });
        assert_eq!(numbers(&directory).unwrap().unwrap().len(), 2);
    }
}
