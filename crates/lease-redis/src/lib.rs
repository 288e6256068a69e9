//! Leases in Redis or Valkey: a provider of [`lease_core`], on [`fred`].
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
//! // Data in Redis: refused, once a later holder has written.
//! store.fenced_write("reports:today", "done", lease.token()).await?;
//! lease.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! One server, Sentinel and Cluster, from Redis 6.0 on, and Valkey. TLS by rustls. By URL ([`RedisStoreOptions::connect`]), or
//! with the application's own client or pool ([`RedisStoreOptions::with_client`]).
//!
//! # What a fail-over can lose
//!
//! Redis replicates **after** it has answered. So:
//!
//! * The last grants, renewals and releases before a fail-over may be unknown to the new primary. A lease that its holder
//!   still believes in may be granted again.
//! * A primary that is cut off from its replicas goes on granting, beside its successor, until it notices.
//! * A server without `appendonly yes` that crashes has forgotten everything; with `appendfsync everysec`, the last second;
//!   with `appendonly yes` and `appendfsync always`, nothing that it has answered.
//! * A server whose `maxmemory-policy` evicts keys may forget any lease at any time: [`RedisStoreOptions::connect`] refuses it.
//!
//! In each case **two holders** may exist until the first one's deadline. What still holds is the order of their tokens: a
//! token is the server's clock in microseconds, or one more than the last (S10), so that the later holder has the greater one,
//! as long as the servers' clocks agree better than the time between the two grants. Send the token with every write, and let
//! the resource refuse smaller ones: [`RedisStore::fenced_write`] does it for data in Redis; for a database it is
//! `UPDATE … SET fence = $token WHERE id = … AND fence <= $token`.
//!
//! Set `min-replicas-to-write` and `min-replicas-max-lag` on the servers, and
//! [`wait_replicas`](RedisStoreOptions::with_wait_replicas) here: grants and renewals then count only when replicas have them,
//! and a primary that is cut off grants nothing that counts. It narrows the gap. It is no consensus: a replica that lags may be
//! promoted all the same, and while replicas are away, no lease can be had or kept. Where that is not enough, keep leases in
//! PostgreSQL or etcd.
//!
//! Whether a lease has expired is judged by the server's wall clock (`TIME`). If that jumps, expiry jumps with it.
//!
//! # What is in the database
//!
//! One string for each name, at the prefix and the name, byte for byte. It stays for a
//! [retention](RedisStoreOptions::retention) after the lease has ended, at least, so that tokens rise and nonces stay spent.
//! Besides, one sorted set at the prefix and ` index`, with the names of what is in force and some that have just been: a hint, by
//! which a list finds them. It may be deleted at any time.
//!
//! ```console
//! $ redis-cli --raw GET app-runtime-leases:nightly-report
//! ```
//!
//! Each operation is one script for many names, sent by its hash. In Cluster every name has its own place, and a batch becomes
//! a script for each slot, sent together; nothing depends on hash tags. [`LeaseStore::list`](lease_core::LeaseStore::list), by
//! which elections look for candidates as well, asks for the names of the index and their records. In an upgrade, processes of a
//! version before do not write into it: if there are leases from before the index, it is believed a day after it began. Until then, and
//! for a user without the rights to it, a list walks over the whole database with `SCAN` for each page. Where a fail-over has lost a
//! part of the index, a list lacks those names until renewals have written them in again: seventeen of them at the most.
//!
//! # Connections
//!
//! All commands of a runtime share one connection, and all its waiters one more, which the first of them opens; both end with
//! the runtime. A call that is abandoned does not spoil its connection: answers are paired with commands in their order, and an
//! answer that nobody waits for is thrown away. What is replaced is a connection that **hangs**: a `PING` is sent behind an
//! abandoned call, and if that is not answered in half a second either, the client connects anew (S24). Nothing is sent before
//! there is a connection, so that what is given up during an outage has not happened; within the milliseconds in which an outage
//! is not noticed yet, it may be delivered afterwards, and is then released by its caller or gone after its ttl (S15).
//!
//! A server that has become a replica is left at once, by a client of the application after a second, and so is a connection that
//! gives the answer to one call to another one (S25): each call has a tag that comes back with its answer. After a fail-over, calls that were refused are made again at the
//! new primary, and waiters hear of releases from there. A replica is never believed, whatever it answers (S19).
//!
//! When the memory of the server is full (`maxmemory` with `noeviction`), nothing new can be had; what is held can be renewed,
//! released and broken all the same.
//!
//! Commands are not repeated by the driver.
//!
//! # Cluster
//!
//! The store has a connection for each primary, made when it is first needed, and a map of the slots of its own, which it reads
//! (`CLUSTER SLOTS`) from any server that answers: again when a server redirects it, cannot be reached or does not answer, and
//! every half a minute. A client of the application is not used itself: it says how to connect, to where, and as whom.
//!
//! * **A primary that is dead or hangs** costs nothing but its own names, if the servers have `cluster-require-full-coverage no`;
//!   with `yes`, which is the default, all servers refuse everything until each slot is served again. Calls for its names fail as
//!   `Unavailable`; the leases there are held until their deadlines. With a replica, a lease is held through the fail-over if its
//!   ttl is longer than that takes: `cluster-node-timeout` until the primary is given up, and a second or two for the
//!   election. What a fail-over can lose is said above, and so is what [`wait_replicas`](RedisStoreOptions::with_wait_replicas) is
//!   for.
//! * **While slots move**, their names can be had, renewed and released as ever, also where a move was interrupted: `MOVED` and
//!   `ASK` are followed, and where some names of a call have moved and some not (`TRYAGAIN`), each goes by itself.
//! * [`LeaseStore::list`](lease_core::LeaseStore::list) asks all primaries. It is `Unavailable` while one cannot be reached, or
//!   slots move all the time.
//! * Hints are heard at any one of the servers. When that is lost, waiters poll for some seconds, until they are heard at another.
//!
//! The log says `a connection hangs, and is replaced` for a primary that hangs. That leases are in danger is said by the client, with the
//! address of the server. A server that is announced by another address or a name (`cluster-announce-ip`,
//! `cluster-announce-hostname`, `cluster-preferred-endpoint-type`) must be reachable there. With TLS, its certificate is compared
//! with the name that it announces, if it does, or else with that address.
//!
//! # Rights
//!
//! A user of the server (ACL) needs these on the keys and the channels of the prefix:
//!
//! ```text
//! ACL SETUSER app on >password ~app-runtime-leases:* &app-runtime-leases:*
//!   +eval +evalsha +time +get +set +setrange +pexpire +zadd +zrem +zrangebylex +scan +publish +subscribe
//!   +unsubscribe +ping +hello
//! ```
//!
//! Besides, `+hget +hset` and the keys of the data for [`RedisStore::fenced_write`], `+wait` for
//! [`wait_replicas`](RedisStoreOptions::with_wait_replicas), `+cluster` and `+asking` for a Cluster. `+info` and `+role` let the
//! store check its servers: the version, the eviction policy, whether it is a replica. Without the channels, or without `+publish`
//! and `+subscribe`, waiters poll.
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
