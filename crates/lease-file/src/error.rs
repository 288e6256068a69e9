//! Errors of the file system.

use std::{borrow::Cow, io, path::Path};

use lease_core::{Error, ErrorKind};

pub(crate) const STORE: &str = "file";

/// Returns an error of opening the store.
pub(crate) fn error(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(kind, "open", message).in_store(STORE)
}

/// Returns the error of an operation that the file system has refused, and that has changed nothing.
pub(crate) fn io_error(operation: &'static str, path: &Path, cause: io::Error) -> Error {
    let (kind, advice) = match (operation, cause.kind()) {
        ("open", io::ErrorKind::NotFound) => {
            (ErrorKind::Invalid, "the directory must exist: create it, on a file system of this host")
        }
        _ => advice(&cause),
    };
    let message = format!("{}: {cause}: {advice}", path.display());
    Error::new(kind, operation, message).in_store(STORE).with_source(cause)
}

/// Returns the error of a write of which it is unknown whether it will survive.
pub(crate) fn unknown(path: &Path, cause: io::Error) -> Error {
    let message =
        format!("{}: {cause}: the version was written, and perhaps not kept: the next read shows it", path.display());
    Error::new(ErrorKind::Indeterminate, "write", message).in_store(STORE).with_source(cause)
}

/// Returns what kind of error this is, and what to do.
fn advice(cause: &io::Error) -> (ErrorKind, &'static str) {
    use io::ErrorKind as Io;
    match cause.kind() {
        Io::PermissionDenied => {
            (ErrorKind::Denied, "every process needs to read, write and search the directory and what is in it")
        }
        Io::ReadOnlyFilesystem => (ErrorKind::Denied, "the file system is mounted read-only: use another directory"),
        Io::NotFound => (
            ErrorKind::Unavailable,
            "the directory of the store was emptied, moved or unmounted while in use: bring it back, or restart all its processes",
        ),
        Io::NotADirectory => (ErrorKind::Invalid, "the path must be that of a directory"),
        Io::InvalidFilename => (ErrorKind::Invalid, "the path of the directory is too long"),
        Io::StorageFull | Io::QuotaExceeded => {
            (ErrorKind::Unavailable, "a lease needs a kilobyte and a few inodes: make room")
        }
        Io::ResourceBusy => {
            (ErrorKind::Unavailable, "try again, and delete the directory of the lease if it has no version in it")
        }
        Io::InvalidData => (
            ErrorKind::Invalid,
            "another program wrote it: delete the directory of the lease, or, if all leases fail, stop all processes and delete the file .boot-…",
        ),
        _ => (ErrorKind::Unavailable, "see what the system logs of the disk"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_kind() {
        let expected = [
            (13, ErrorKind::Denied),
            (1, ErrorKind::Denied),
            (30, ErrorKind::Denied),
            (2, ErrorKind::Unavailable),
            (20, ErrorKind::Invalid),
            (36, ErrorKind::Invalid),
            (28, ErrorKind::Unavailable),
            (122, ErrorKind::Unavailable),
            (5, ErrorKind::Unavailable),
            (24, ErrorKind::Unavailable),
        ];
        for (code, kind) in expected {
            let error = io_error("read", Path::new("/leases/job"), io::Error::from_raw_os_error(code));
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains("/leases/job"), "{error}");
        }
        let error = io_error("open", Path::new("/leases"), io::Error::from_raw_os_error(2));
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}
