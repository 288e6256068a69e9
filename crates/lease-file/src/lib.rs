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
//! * A directory that exists, on ext2 to ext4, XFS, Btrfs, ZFS, F2FS, bcachefs, tmpfs or overlay. Every process needs the rights to
//!   read, write and search it, and files that the others write: run them as one user, or set a group, `chmod g+rwxs` and a umask of
//!   002.
//! * In containers, one directory of the host, mounted into each of them. A path in the container's own file system (overlay, or a
//!   tmpfs of its own) is a directory of its own in every container, and each of them would grant the same lease.
//! * No time namespace: it shifts the boot clock of a container.
//! * The kernel's boot id in `/proc`. systemd-nspawn, LXC and Incus mount another one over it in their containers, in which the store
//!   is refused until `/proc/sys/kernel/random/boot_id` is unmounted there. Docker, Podman and Kubernetes do not.
//!
//! # How it works
//!
//! Each name has a directory, which is the name with `_` and two hexadecimal digits in place of other bytes than lower-case letters,
//! digits and `-`. It contains the newest two versions of the [record](lease_document), as files that are named by their numbers. A
//! version is written to `.new`, synced to the disk, and linked to the next number, which fails if that is there. Nothing is locked:
//! a process that is stopped at any moment holds up nobody. The file `.boot-…` has the moment from which all processes of this boot
//! count the time.
//!
//! Expiry is judged by the boot clock of the host ([`ServerMonotonicClock`](lease_core::ExpiryJudge::ServerMonotonicClock)), which
//! does not jump, and includes suspend. When the host has started anew, all names are free at once: their holders are dead.
//!
//! Waiters are woken, and holders notified, by a thread that looks at the directory every tenth of a second, or ten times as long as
//! a look takes. It starts when the process first waits, or has held a lease for a second, and ends with the store.
//!
//! # Growth
//!
//! A name that was ever leased keeps its directory with two files, of less than a kilobyte without its metadata.
//! [`purge`](DocumentStore::purge) makes the files of old names smaller and removes none. Each look and each list goes through all of
//! these directories. A process that was killed may leave a file in `.new`: a process that opens the
//! directory a day later removes it.
//!
//! # Commands for operators
//!
//! ```sh
//! ls /var/lib/leases                              # all names that were ever leased
//! tail -n +2 /var/lib/leases/nightly-report/*     # who has it, until when, and its token; the larger number is the newer version
//!
//! # Break a lease now. There is no exclusion until its holder is notified. A name that begins with a dot is no lease.
//! cd /var/lib/leases && mv nightly-report .broken && rm -r .broken
//! ```
//!
//! To end a grant without losing exclusion, use [`LeaseClient::break_lease`](lease_core::LeaseClient::break_lease) with
//! `AfterExpiry`. Move the directory of a lease away before its files are deleted: for a moment, an older version would be the newest.
//!
//! # When the host or the disk fails
//!
//! * **The host starts anew**: all names are free at once, and tokens rise.
//! * **The disk is full**, or has no inodes left: nothing is acquired or renewed (`Unavailable`, `make room`), and holders stop at
//!   their deadlines. A release fails as well.
//! * **A disk that hangs** holds up calls, of which at most 16 are at work at once. Leases are lost at their deadlines.
//! * **The directory is emptied, moved or unmounted**: every call fails as `Unavailable` (`emptied, moved or unmounted while in
//!   use`) until it is back, or until all processes have started anew. Do not start some of them anew: they would begin with an empty
//!   directory, beside holders that have not stopped yet.
//! * **The log** has under the target `lease`: `in jeopardy` (warn), once for each lease whose renewal failed, with the reason; then
//!   `out of jeopardy` (info) or `lost` (warn). `no thread to watch the directory: waiters poll` (warn): the process may not start
//!   another thread.
//!
//! # What it does not promise
//!
//! * Exclusion between machines.
//! * That a holder survives the removal of its directory.
//! * That a renewal which arrives late is refused: one that is held up by the disk until after the expiry, and is done before any
//!   rival's write, extends the grant (the form of S7 of this store).
//! * Low latency on a disk: each write is two calls of `fsync(2)`. On tmpfs they cost nothing, and leases need not survive the host.

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
