//! Leases in Redis or Valkey: a provider of [`lease_core`], on the driver [`fred`].
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use lease_core::{LeaseClient, LeaseOptions};
//! use lease_redis::RedisStore;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let store = RedisStore::connect("redis://user:password@redis.example:6379/0").await?;
//! let client = LeaseClient::new(store.clone());
//! let lease = client.acquire("nightly-report", LeaseOptions::new(Duration::from_secs(30))).await?;
//! // Data in Redis: refused if a later holder has written.
//! store.fenced_write("reports:today", "done", lease.token()).await?;
//! lease.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Supports a single server, Sentinel and Cluster, from Redis 6.0 on, and Valkey, with TLS by rustls. A store connects by URL
//! ([`RedisStoreOptions::connect`]), or uses the application's own client or pool ([`RedisStoreOptions::with_client`]).
//!
//! # What a fail-over can lose
//!
//! Redis replicates **after** it has answered. Therefore:
//!
//! * The new primary may lack the last grants, renewals and releases before a fail-over. It may then grant a lease that its
//!   holder still holds.
//! * A primary that is cut off from its replicas continues to grant leases, beside the new primary, until it detects this.
//! * A server without `appendonly yes` that crashes loses everything. With `appendfsync everysec` it loses the last second; with
//!   `appendonly yes` and `appendfsync always`, nothing that it has answered.
//! * A server whose `maxmemory-policy` evicts keys may lose any lease at any time. [`RedisStoreOptions::connect`] refuses it.
//!
//! In each case **two holders** may exist until the deadline of the first one. The order of their tokens still holds: a token
//! is the server's clock in microseconds, or one more than the last token (S10). So the later holder has the greater token, if
//! the servers' clocks differ by less than the time between the two grants. Send the token with every write, and let the
//! resource refuse smaller tokens. [`RedisStore::fenced_write`] does this for data in Redis; for a database, use `UPDATE … SET
//! fence = $token WHERE id = … AND fence <= $token`.
//!
//! Set `min-replicas-to-write` and `min-replicas-max-lag` on the servers, and
//! [`wait_replicas`](RedisStoreOptions::with_wait_replicas) in the options. Grants and renewals then count only if replicas
//! have confirmed them, and a primary that is cut off grants nothing that counts. This narrows the gap, but it is not
//! consensus: a replica that lags may still be promoted, and while replicas are unreachable, no lease can be acquired or
//! renewed. If that is not enough, keep leases in PostgreSQL or etcd.
//!
//! The server's wall clock (`TIME`) decides whether a lease has expired. If it jumps, expiry jumps with it.
//!
//! # What is in the database
//!
//! Each lease is one string, whose key is the prefix followed by the name, byte for byte. It stays for at least the
//! [retention](RedisStoreOptions::retention) after the lease has ended, so that tokens rise and nonces stay spent. To read one:
//!
//! ```console
//! $ redis-cli --raw GET app-runtime-leases:nightly-report
//! ```
//!
//! The index is a sorted set, whose key is the prefix followed by ` index`. It has the names of the leases in force and of some
//! that have ended recently. It is a hint, by which a list finds them, and may be deleted at any time.
//!
//! Each operation is one script for many names, called by its hash. In a Cluster every name has its own slot; a batch is one
//! script call for each slot, all sent together. Nothing depends on hash tags.
//!
//! [`LeaseStore::list`](lease_core::LeaseStore::list), by which elections find candidates as well, reads names from the index,
//! and then their records. In two cases it scans the whole database with `SCAN` for each page instead: for a user who lacks the
//! rights to the index, and after an upgrade from a version without the index, if there are leases from before it. Because
//! processes of the earlier version do not add names, the index is then used a day after its creation. If a fail-over has lost
//! a part of the index, a list lacks those names until renewals have added them again, which takes at most seventeen of them.
//!
//! # Connections
//!
//! All commands of a runtime share one connection. Its waiters share another one, which the first waiter opens. Both end with the
//! runtime.
//!
//! An abandoned call does not harm its connection: answers are paired with commands in their order, and the answer of an
//! abandoned call is dropped. A connection that **hangs** is replaced: a `PING` is sent behind each abandoned call, and if it
//! is not answered within half a second, the client reconnects (S24). Nothing is sent before there is a connection, so a call
//! that is given up during an outage was not executed. A call in the milliseconds before an outage is detected may be delivered
//! afterwards; its caller then releases the grant, or it expires after its ttl (S15).
//!
//! The store disconnects at once from a server that has become a replica; a client of the application does after a second. The
//! same happens to a connection that gives an answer to the wrong call (S25): each call has a tag that comes back with its
//! answer. After a fail-over, calls that a replica has refused are repeated at the new primary, and waiters get their hints
//! from there. The answer of a replica is never believed (S19).
//!
//! When the memory of the server is full (`maxmemory` with `noeviction`), nothing new is granted; leases can be renewed,
//! released and broken all the same.
//!
//! The driver does not repeat commands.
//!
//! # Cluster
//!
//! The store has a connection to each primary, opened at the first call to it, and a slot map of its own. It reads the map
//! (`CLUSTER SLOTS`) from any server that answers: every half a minute, and whenever a server redirects a call, cannot be
//! reached or does not answer. A client of the application is not used itself; it provides the addresses, the user and the
//! configuration.
//!
//! * **A primary that is dead or hangs** affects only its own names, if the servers have `cluster-require-full-coverage no`.
//!   With `yes`, the default, all servers refuse everything until each slot has a primary again. Calls for its names fail as
//!   `Unavailable`, and its leases are held until their deadlines. With a replica, a lease is held through the fail-over if its
//!   ttl is longer than the fail-over takes: `cluster-node-timeout` until the primary is considered dead, and a second or two
//!   for the election. The section above says what a fail-over can lose.
//! * **While slots move**, also after an interrupted move, their names can be acquired, renewed and released as usual. `MOVED`
//!   and `ASK` are followed. If only some names of a call have moved (`TRYAGAIN`), each is sent by itself.
//! * [`LeaseStore::list`](lease_core::LeaseStore::list) needs the primaries of the index and of the listed names, or all
//!   primaries when it scans. It is `Unavailable` while one of them cannot be reached, or while slots keep moving during a
//!   scan.
//! * Waiters get hints from one of the servers. When it is lost, they poll for some seconds, until another one is used.
//!
//! The log says `a connection hangs` for a primary that hangs. The client's log says which leases are in danger, with the
//! address of the server. A server that announces another address or a name (`cluster-announce-ip`,
//! `cluster-announce-hostname`, `cluster-preferred-endpoint-type`) must be reachable there. With TLS, its certificate must have
//! the name that it announces, or else that address.
//!
//! # Rights
//!
//! A user of the server (ACL) needs these rights on the keys and channels of the prefix:
//!
//! ```text
//! ACL SETUSER app on >password ~app-runtime-leases:* &app-runtime-leases:*
//!   +eval +evalsha +time +get +set +setrange +pexpire +zadd +zrem +zrangebylex +scan +publish +subscribe
//!   +unsubscribe +ping +hello
//! ```
//!
//! In addition:
//!
//! * `+hget +hset`, and the keys of the data, for [`RedisStore::fenced_write`];
//! * `+wait` for [`wait_replicas`](RedisStoreOptions::with_wait_replicas);
//! * `+cluster +asking` for a Cluster;
//! * `+info +role` to check the servers: the version, the eviction policy, and whether it is a replica.
//!
//! Without the channels, `+publish` or `+subscribe`, waiters poll.
mod connect;
mod connections;
mod driver;
mod error;
mod failure;
mod fence;
mod keys;
mod listener;
mod listing;
mod operations;
mod options;
mod preflight;
mod redact;
mod reply;
mod scripts;
mod shared;
mod store;
mod tls;
mod url;
mod version;

/// The driver. Its types are part of this crate's interface, so a new version of it is a new version of this crate.
pub use fred;

pub use options::{RedisStoreOptions, WaitReplicas};
pub use scripts::FENCED_WRITE_SCRIPT;
pub use store::RedisStore;

/// The name of the store in errors and capabilities.
const STORE: &str = "redis";

// The code of the README is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
