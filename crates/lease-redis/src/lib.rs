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
//! * A primary that is cut off from its replicas continues to grant leases, beside the new primary, until it follows the new one.
//! * `SENTINEL FAILOVER` does not stop the old primary. It continues for about ten seconds, until the sentinels make it a replica,
//!   and all that it answers is lost. With the settings below it refuses instead. `FAILOVER`, the command of the server itself,
//!   hands everything over and loses nothing.
//! * A server without `appendonly yes` that crashes loses everything since its last snapshot, and all if it makes none. With
//!   `appendonly yes` and `appendfsync everysec`, the default, it loses the last second if the machine crashes, and nothing if only
//!   the process does; with `appendfsync always`, nothing that it has answered.
//! * A server whose `maxmemory-policy` evicts keys may lose any lease at any time. [`RedisStoreOptions::connect`] refuses it, if
//!   the user may run `INFO`.
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
//! consensus: a replica that lags may still be promoted. If that is not enough, keep leases in PostgreSQL or etcd.
//!
//! The price: while there are too few replicas, no lease can be acquired or renewed. With `min-replicas-to-write` the server then
//! refuses every write, also a release. This includes a new primary until a replica follows it, so have at least two replicas.
//! With `min-replicas-to-write` alone, a primary that is cut off goes on for `min-replicas-max-lag`, 10 s by default. Before Redis 7,
//! a server does not apply it to scripts, and so not to leases: only the option counts there.
//!
//! A lease is held through a fail-over, with the same token, if the rest of its validity, usually at least two thirds of its ttl, is
//! longer than the time without a primary. With Sentinel this is `down-after-milliseconds`, 30 s by default, and a second or two
//! for the election; after `SENTINEL FAILOVER` with the settings above, those ten seconds. The new primary must have the lease.
//!
//! The server's wall clock (`TIME`) decides whether a lease has expired. If it jumps, expiry jumps with it.
//!
//! # What is in the database
//!
//! Each lease is one string, whose key is the prefix followed by the name, byte for byte. It stays for at least the
//! [retention](RedisStoreOptions::retention) after the lease has ended, so that tokens rise and nonces stay spent. It has ten
//! lines: the token; when it was acquired, and when it expires, in microseconds since 1970 by the server's clock; the state, `h`
//! held, `r` released or `b` broken; the nonce; the holder; the holder for whom the name is reserved; the ttl in microseconds; the
//! revision of the metadata; the metadata.
//!
//! The index is a sorted set, whose key is the prefix followed by ` index`. It has the names of the leases in force and of some
//! that have ended recently. It is a hint, by which a list finds them. It may be deleted at any time; lists then scan the
//! database for a day.
//!
//! Each operation is one script for many names, called by its hash. In a Cluster every name has its own slot; a batch is one
//! script call for each slot, all sent together. Nothing depends on hash tags.
//!
//! [`LeaseStore::list`](lease_core::LeaseStore::list), by which elections find candidates as well, reads names from the index,
//! and then their records. In two cases it scans the whole database with `SCAN` for each page instead: for a user who lacks the
//! rights to the index, and if there are leases from before the index was created, as after an upgrade from a version without it.
//! Because processes of the earlier version do not add names, the index is then used a day after its creation. If a fail-over has
//! lost a part of the index, a list lacks those names until renewals have added them again: each process does so with every
//! seventeenth of its renewal calls.
//!
//! # Commands for operators
//!
//! ```console
//! $ redis-cli --raw GET app-runtime-leases:nightly-report        # a lease, in force or not
//! $ redis-cli --raw ZRANGE 'app-runtime-leases: index' 0 -1      # the names of the leases in force, and of some others
//! $ redis-cli --scan --pattern 'app-runtime-leases:*'            # all keys, by a scan of the database
//! $ redis-cli DEL app-runtime-leases:nightly-report              # frees a name now
//! ```
//!
//! To end a grant, use [`LeaseClient::break_lease`](lease_core::LeaseClient::break_lease): it names the token, and so never ends
//! a later grant. After `DEL` there is no exclusion until the old holder's next renewal, and waiters learn of the free name at
//! their next poll.
//!
//! # Growth
//!
//! A name that was leased takes about 320 bytes of memory, with a holder id of 30 characters and without metadata, and 100 more
//! while it is in the index. The server removes its key a day after its last grant has ended
//! ([`retention`](RedisStoreOptions::retention)). So a service that leases a million names a day, each of them once, needs about
//! 350 MB. A renewal takes no memory. Expired names leave the index when processes acquire others, or list.
//!
//! With `appendonly yes`, an acquire appends about 190 bytes to the file, a renewal 210 and a release 80, and more with metadata.
//! The server rewrites the file when it has doubled (`auto-aof-rewrite-percentage`, `auto-aof-rewrite-min-size`).
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
//!   `Unavailable`, or as `Indeterminate` if it may have received them, and its leases are held until their deadlines. With a
//!   replica, a lease is held through the fail-over if its ttl is longer than the fail-over takes: `cluster-node-timeout` until
//!   the primary is considered dead, and a second or two for the election. The section above says what a fail-over can lose.
//! * **While slots move**, also after an interrupted move, their names can be acquired, renewed and released as usual. `MOVED`
//!   and `ASK` are followed. If only some names of a call have moved (`TRYAGAIN`), each is sent by itself.
//! * [`LeaseStore::list`](lease_core::LeaseStore::list) needs the primaries of the index and of the listed names, or all
//!   primaries when it scans. It is `Unavailable` while one of them cannot be reached, or while slots keep moving during a
//!   scan.
//! * Waiters get hints from one of the servers. When it is lost, they poll for some seconds, until another one is used.
//!
//! A server that announces another address or a name (`cluster-announce-ip`, `cluster-announce-hostname`,
//! `cluster-preferred-endpoint-type`) must be reachable there. With TLS, its certificate must have the name that it announces, or
//! else that address.
//!
//! # The log
//!
//! Under the target `lease`: `in jeopardy` (warn), once for each lease whose renewal failed, with the reason; then `out of
//! jeopardy` (info) or `lost` (warn). A fail-over that ends before the next renewal leaves no such line. Typical reasons are:
//!
//! * `no answer within …`: the server hangs, is dead or is cut off, or the connection is being established again. This reason does
//!   not name the server;
//! * `is a replica or read-only (READONLY …)`: the address still leads to the old primary;
//! * `has fewer replicas than its min-replicas-to-write requires (NOREPLICAS …)`, `the memory of … is full … (OOM …)`;
//! * `CLUSTERDOWN The cluster is down`, with the address of the server that says so;
//! * `the store has no record of it`, as the reason of a loss: the server has lost its data.
//!
//! Under `lease_redis`:
//!
//! * `a connection hangs: reconnecting` (warn);
//! * `the subscription to hints is at a replica: waiters poll until it is at the primary` (warn);
//! * `has replicas and min-replicas-to-write 0`, `has replicas and appendonly no` (warn): after each connection to such a server;
//! * `no lease is granted on this server` (error): it evicts keys, or is too old. The held leases are renewed and released;
//! * `the server was not checked, because the user may not run INFO`, `the server refuses the index of names`, `the server refuses
//!   to publish hints` and `the server refuses the subscription to hints` (warn): a right is missing;
//! * `a call got the answer to another call: reconnecting` (error): a defect of the driver or of a proxy.
//!
//! # Rights
//!
//! A user of the server (ACL) needs these rights on the keys and channels of the prefix:
//!
//! ```console
//! $ redis-cli ACL SETUSER app on '>password' '~app-runtime-leases:*' resetchannels '&app-runtime-leases:*' \
//!     +eval +evalsha +time +get +set +setrange +pexpire +zadd +zrem +zrangebylex +scan \
//!     +publish +subscribe +unsubscribe +ping +hello
//! ```
//!
//! Redis 6.0 has no rights on channels: leave `resetchannels` and the word behind it out. In addition:
//!
//! * `+select` if the URL names a database, even if it is `/0`;
//! * `+role` for Sentinel;
//! * `+hget +hset`, and the keys of the data, for [`RedisStore::fenced_write`];
//! * `+wait` for [`wait_replicas`](RedisStoreOptions::with_wait_replicas);
//! * `+cluster +asking` for a Cluster;
//! * `+info +role` to check the servers: the version, the eviction policy, and whether it is a replica. Without `+info`, nothing
//!   is checked, and the log says so.
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
