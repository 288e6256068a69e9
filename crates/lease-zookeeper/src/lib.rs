//! Distributed leases, locks and fencing tokens on ZooKeeper.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use lease_core::LeaseClient;
//! use lease_zookeeper::ZooKeeperStoreOptions;
//!
//! # async fn example() -> lease_core::Result<()> {
//! let store = ZooKeeperStoreOptions::new().connect("zk-1:2181,zk-2:2181,zk-3:2181").await?;
//! let client = LeaseClient::new(store);
//! if let Some(lease) = client.try_acquire("nightly-report", Duration::from_secs(30)).await?.acquired() {
//!     println!("acquired with the token {}", lease.token());
//!     lease.release().await?;
//! }
//! client.close().await
//! # }
//! ```
//!
//! # When to choose it
//!
//! * Choose it if you run ZooKeeper already, or if leases must survive the loss of a server.
//! * Locks of Curator and of other libraries are ephemeral sequential nodes, under paths of their own. They and these leases do not
//!   exclude each other, and this store does not touch their nodes.
//!
//! # Why no ephemeral nodes
//!
//! An ephemeral node lives as long as a session, which is one connection and one timeout for all nodes of a process. A lease of its
//! own ttl, or one that is ended without the others, would need a session of its own. A renewal could not be refused, since pings of
//! the session renew everything. And the node is gone with its holder, so nothing shows whose repeated request it was that was
//! granted already. Here a session only carries requests. When it expires, the store begins another one, and every lease goes on: it
//! is renewed by writes, and ends by its own time.
//!
//! # Nodes
//!
//! ```text
//! /app-runtime-leases                      the chroot, created if missing
//! /app-runtime-leases/.clock               written to learn what time it is
//! /app-runtime-leases/reports!2Fnightly    the lease reports/nightly: a line with an id, then its record as JSON
//! /app-runtime-leases/reports!2Fnightly/5ca1ab1e…   the same id as a node
//! ```
//!
//! Letters and digits of a name stay as they are; [`lease_document::escape`] shows all others. The version of a node starts at 0 again
//! after the node was deleted and created, and ZooKeeper compares nothing else. So each write is a transaction that also checks that
//! the node with the id is there. A writer that was stopped for long cannot hit a node that was created since, whether
//! [`purge`](DocumentStore::purge) or an operator deleted the one before.
//!
//! The fencing token is the transaction id (`mZxid`) of the grant. It rises over all nodes, and over deletions.
//!
//! # What an operator does
//!
//! * See all names that were ever leased: `ls /app-runtime-leases` in `zkCli.sh`; who holds a lease: `get /app-runtime-leases/job`.
//! * End a lease: [`LeaseClient::break_lease`](lease_core::LeaseClient::break_lease) with `AfterExpiry` keeps exclusion.
//!   `deleteall /app-runtime-leases/job` ends it at once: there is no exclusion until the holder is notified.
//! * Free memory: ZooKeeper keeps all nodes in memory, two for each name that was ever leased, of some hundred bytes and the metadata.
//!   Call [`purge`](DocumentStore::purge) from time to time if names are many: it deletes the nodes of old names.
//! * Keep the disks of the servers free: each renewal adds to the transaction log, of which ZooKeeper removes old files only with
//!   `autopurge.purgeInterval`, which is off by default.
//!
//! # Rights and credentials
//!
//! The store needs the rights `cdrw` on the chroot and on the nodes below it, and `c` on the node above the chroot if it is to create
//! the chroot. With
//! [credentials](ZooKeeperStoreOptions::with_digest), the nodes that it creates are for the same credentials only; other ACLs are an
//! [option](ZooKeeperStoreOptions::acls). Feature `sasl` adds DIGEST-MD5 over SASL. For Kerberos, enable the feature `sasl-gssapi`
//! of the driver as well.
//!
//! # TLS
//!
//! The TLS of the driver needs another provider of cryptography than ring, so this crate leaves it out. Run a tunnel such as
//! stunnel beside each process, in client mode, and connect to its local port.
//!
//! # Time
//!
//! Expiry is judged by the wall clock of the leader, which every write brings with it. Another leader has another clock: by default
//! the clocks of the servers are assumed to agree within 4 s (a slack of 2 s on both sides), and a name whose holder has crashed is
//! taken over 4 s later, or up to 8 s if a leader with another clock has come. If they differ by more, a name can have two holders. Set
//! [`expiry_judge`](ZooKeeperStoreOptions::expiry_judge) to `ServerWallClock` for a single server, and to
//! [`Contenders`](lease_core::ExpiryJudge::Contenders) to believe no clock at all.
//!
//! # What a fail-over does
//!
//! While a leader is elected, calls fail as `Unavailable`, or as `Indeterminate` if they had been sent. The driver connects to another
//! server by itself. Grants and tokens are kept: a write is answered after most servers have it. A lease is lost if no renewal
//! succeeds within its ttl, so choose a ttl well above the time of an election, which is a few seconds with usual settings.
//!
//! The log shows, under the target `lease`: `in jeopardy` (warn), once for each lease whose renewal failed, with the reason; then
//! `out of jeopardy` (info) or `lost` (warn). Typical reasons are `no answer within …`, `the connection is broken, and the driver
//! connects again`, `the connection broke before the answer came`, and `no server answered in time`. After the end of a session:
//! `the session has ended, and there is no new one yet` (warn), for each attempt that fails, and `a new session has begun after the end
//! of the last one` (info). `the servers are older than ZooKeeper 3.6 and have no recursive watches: waiters poll` (warn) comes once,
//! when the store connects. `the store's clock has jumped, or its servers disagree` (warn): look at the time service of the servers.
//!
//! # What it costs
//!
//! | operation | requests |
//! |---|---|
//! | acquire | `sync` and `getData`, then one transaction; without that if the name is held |
//! | renew, release | 1 transaction |
//! | inspect | `sync` and `getData` |
//! | list, purge | `sync` and `getChildren` for each 256 names, and `getData` for each name; 1 transaction for each that is purged |
//! | clock | 1 write, if this process has written nothing for 10 s |
//!
//! Requests that do not depend on each other are sent together. The driver leaves Nagle's algorithm on, so the second of two may wait
//! for the answer to the first: a read takes up to two round trips.
//!
//! A process that waits or holds has one persistent recursive watch on the chroot, and is told of every change below it: give leases
//! that have nothing to do with each other chroots of their own. It reads a node whose record it wrote itself once more after each
//! change, and makes an attempt for each change of a name that it waits for, also for a renewal.
//!
//! A call that is dropped may still be executed: all calls share one connection, which is not closed for one of them.
//!
//! # What it does not promise
//!
//! * Exclusion of *effects* elsewhere. Send the fencing token with each write.
//! * Tokens that rise over a loss of data: an ensemble that is restored from an older snapshot repeats transaction ids.
//! * That an inspection shows the last write while a leader is being replaced: `sync` asks the server that believes to lead.
//!   Nothing is granted by what was read alone.

mod content;
mod error;
mod open;
mod options;
mod paths;
mod session;
mod watch;
mod znodes;

use lease_document::DocumentStore;

pub use options::ZooKeeperStoreOptions;
pub use znodes::Znodes;
/// The driver, whose types are part of the options. A new major version of the driver is a new major version of this crate.
pub use zookeeper_client;

/// Leases in ZooKeeper.
pub type ZooKeeperStore = DocumentStore<Znodes>;

/// The name of the store in errors and capabilities.
const STORE: &str = "zookeeper";

// The code of the README is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
