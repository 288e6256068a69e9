//! Leases, locks and fencing tokens for the processes of one host, in a directory. There is no server.
//!
//! ```
//! use std::time::Duration;
//!
//! use lease_core::LeaseClient;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path();
//! let client = LeaseClient::new(lease_file::open(directory).await?);
//! if let Some(lease) = client.try_acquire("nightly-report", Duration::from_secs(30)).await?.acquired() {
//!     println!("acquired with the token {}", lease.token());
//!     lease.release().await?;
//! }
//! client.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # When to choose it
//!
//! * Choose it for programs of one machine, in containers or not: cron jobs, agents, a service and its command line.
//! * Choose a store with a server as soon as there is a second machine. A directory of a network file system is refused.
//! * If the processes share nothing but a name and end together with their work, `flock(1)` does. A lease adds the token, the end of
//!   a holder that hangs, metadata, waiting by push, and elections.
//!
//! # What it needs
//!
//! * Linux.
//! * A directory that exists, on ext4, XFS, Btrfs, ZFS, F2FS, bcachefs, tmpfs or overlay. Every process needs the rights to read,
//!   write and search it, and files that the others write: run them as one user, or set a group, `chmod g+rwxs` and a umask of 002.
//! * No time namespace: it shifts the boot clock of a container.
//! * The kernel's boot id in `/proc`. systemd-nspawn, LXC and Incus mount another one over it in their containers, in which the store
//!   is refused until `/proc/sys/kernel/random/boot_id` is unmounted there. Docker, Podman and Kubernetes do not.
//!
//! # How it works
//!
//! Each name has a directory, which is the name with `_` and two hexadecimal digits in place of other bytes than lower-case letters,
//! digits and `-`. It contains the newest two versions of the [record](lease_document), as files that are named by their numbers. A
//! version is written to `.new`, synced to the disk, and linked to the next number, which fails if that is there. Nothing is locked:
//! a process that is stopped at any moment holds up nobody. `ls` and `cat` show it all.
//!
//! Expiry is judged by the boot clock of the host ([`ServerMonotonicClock`](lease_core::ExpiryJudge::ServerMonotonicClock)), which
//! does not jump, and includes suspend. When the host has started anew, all names are free at once: their holders are dead.
//!
//! Waiters are woken, and holders notified, by a thread that looks at the directory every tenth of a second while somebody waits or
//! holds a lease.
//!
//! # What it does not promise
//!
//! * Exclusion between machines.
//! * That a holder survives the removal of its directory: if the directory of the store is emptied or unmounted, calls fail as
//!   `Unavailable` until it is back, or until the processes have started anew.
//! * Low latency on a disk: each write is an `fsync(2)`. On tmpfs there is none, and leases need not survive the host.

mod directory;
mod epoch;
mod error;
mod file_system;
mod files;
mod host;
mod key;
mod versions;
mod watch;

use std::path::PathBuf;

use lease_core::Result;
use lease_document::DocumentStore;

pub use directory::Directory;

/// Leases in a directory. [`purge`](DocumentStore::purge) reduces the records of old names; what remains of a name is a directory
/// with two small files.
pub type FileStore = DocumentStore<Directory>;

/// Opens the leases in a directory. All processes with this directory share them.
///
/// # Errors
///
/// * `Invalid`: the directory does not exist, or is none.
/// * `Denied`: this process may not write there.
/// * `Unsupported`: the file system may be shared with other hosts, the process is in a time namespace or has a boot id of its
///   container, or the system is not Linux.
/// * `Unavailable`: the disk is full or fails.
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn open(directory: impl Into<PathBuf>) -> Result<FileStore> {
    Directory::open(directory).await.map(DocumentStore::new)
}

// The code of the README is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
