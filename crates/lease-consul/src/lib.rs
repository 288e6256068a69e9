//! Leases in Consul's KV store, for [`lease_core`].
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use lease_consul::ConsulStore;
//! use lease_core::LeaseClient;
//!
//! # async fn example() -> lease_core::Result<()> {
//! let store = ConsulStore::connect("http://127.0.0.1:8500").await?;
//!
//! let client = LeaseClient::new(store);
//! let lease = client.acquire("nightly-report", Duration::from_secs(30)).await?;
//! println!("acquired with token {}", lease.token());
//! lease.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`ConsulStoreOptions`] sets the ACL token, TLS, the datacenter, the namespace and the key prefix. To use an HTTP client that
//! the application has already, see [`ConsulStoreOptions::connect_with`].
//!
//! # What it promises
//!
//! * **One key per name**: `app-runtime-leases/` (by default) and the escaped name. Its value is readable JSON with the holder. It
//!   stays after the end of the grant, with the last token and nonce (S13), until [`ConsulStore::purge`].
//! * **Every write compares the index of the key**, in a transaction (`cas`), which the servers commit by consensus. Of several
//!   contenders one wins.
//! * **Every read is consistent** (`?consistent`). In Consul's default mode a deposed leader may answer with what it had.
//! * **Fencing tokens** are the indexes of the grants in the log of the datacenter (`ModifyIndex`). They rise over releases,
//!   expiry, deleted keys and restarts (S9).
//! * **Contenders judge expiry** (S2): one takes over what it has itself observed unchanged for the ttl and a margin. No clock of
//!   any host is believed, so a wrong clock has no effect (S3).
//! * **Waiters and holders are notified** by one blocking query on the prefix. It is started with the first subscription, and ends
//!   with the store. Behind it, waiters poll (S20).
//! * **A silent agent is not waited for**: requests are HTTP/1.1, and one that is given up ends its connection (S24).
//!
//! # What it does not promise
//!
//! * **Exclusion of effects elsewhere.** Send the token with the write; see the page of [`lease_core`].
//! * **That a process which tries once takes over from a holder that has crashed.** It has observed nothing yet: `try_acquire`
//!   answers that the lease is held, and how long to observe it. Wait with `acquire`. A waiter that begins to wait when the holder
//!   has just crashed takes over after the ttl, 1 % of it, and a margin of 1 % (at least 50 ms, at most a quarter of the ttl). With
//!   [`with_trusted_clocks`](ConsulStoreOptions::with_trusted_clocks) the time in the answers judges, which compares the clocks of
//!   whoever answers: usually those of the application's own hosts.
//! * **That a renewal which arrives late is refused.** One that was sent before the expiry, and that reaches Consul after it and
//!   before any rival, extends the grant: the key has not changed (the form of S7 of this store).
//! * **That tokens survive a loss of data.** A datacenter that begins anew begins at a low index. A name whose key was kept goes
//!   on above its last token. A name whose key is lost does not. A renewal may then displace a rival whose key has the very same
//!   index: both hold until the rival's next renewal, which finds the lease lost.
//! * **Leases across datacenters.** Each has keys of its own, and nothing replicates them. All processes use the same
//!   [`datacenter`](ConsulStoreOptions::datacenter).
//!
//! # Why there are no sessions
//!
//! A session of Consul would end a grant without a renewal of its key, but it keeps other promises than a lease does. It is
//! destroyed between one and two times its ttl, which is at least 10 s, and its name stays blocked for a lock-delay of 15 s by
//! default, also after a clean end. A holder learns late that its session is gone. One session for many names ends all of them
//! together, and one for each name costs more than the write that it saves. So the keys of this store have no session, and
//! `consul lock` on the same key does not exclude this library.
//!
//! # When servers fail
//!
//! While the servers elect a leader, requests fail as `Unavailable`, or as `Indeterminate` if a write was in flight. A lease
//! outlives an election that is shorter than what is left of its ttl. A leader that was cut off answers no consistent read and
//! commits no write, so an agent beside it fails, and grants nothing. No committed grant is lost as long as a majority of the
//! servers keeps its disk. An agent that is restarted has nothing to lose: the keys are with the servers.
//!
//! The log shows, under the target `lease`: `in jeopardy` (warn), once for each lease whose renewal failed, with the reason; then
//! `out of jeopardy` (info) or `lost` (warn). `leases are not watched: waiters poll until they are again` (warn) comes once for each
//! interruption of the watch. Typical reasons are `the agent cannot be reached`, `no answer within …`, `No cluster leader`, and, for a
//! token that has lost its rule or was deleted, `Permission denied` and `ACL not found`.
//!
//! # Growth
//!
//! There is one key for each name that was ever leased, of some hundred bytes and its metadata, in the memory of every server.
//! [`ConsulStore::purge`] deletes old ones. A renewal replaces the value, and adds an entry to the servers' log, which they cut by
//! themselves.
//!
//! # What it costs
//!
//! | operation | requests |
//! |---|---|
//! | acquire | 2; 1 if the name is held |
//! | renew, release | 1 write; 2 requests more after a conflict |
//! | inspect, break | 1; 2 |
//! | list, purge | for each 256 names, 1 for all keys of the prefix and 4 for the values; a purge deletes by 1 for each |
//! | watch | 1 after each change below the prefix, 1 in 15 s without changes |
//!
//! Each answer to the watch brings all keys below the prefix with their values, some 700 bytes for each name that was ever leased.
//! A store reads at most 1 MiB per second in this way, and 8 MiB at once after quiet times; above it, hints come later. An answer of
//! more than 32 MiB, about 45 000 names, is given up: waiters poll, and the watch is tried again after pauses of up to half a minute.
//! Give each application a prefix of its own, and purge it.
//!
//! Requests in flight have a connection each: a process that is alone with its agent opens few, and one under load some dozens, up to
//! 64 for each of acquiring, renewing and releasing. An agent takes 200 from one address (`limits.http_max_conns_per_client`): raise it
//! if several processes of a host lease hundreds of names at once.
//!
//! # Rights
//!
//! With ACLs, the token needs this rule; without a token, the anonymous token does. It suffices for [`ConsulStore::purge`], too.
//!
//! ```hcl
//! key_prefix "app-runtime-leases/" {
//!   policy = "write"
//! }
//! ```
//!
//! # Commands for operators
//!
//! ```sh
//! consul kv get -recurse app-runtime-leases/             # all leases that there were, and their holders
//! consul kv get -detailed app-runtime-leases/job         # with its index
//! consul kv delete app-runtime-leases/job                # break the lease now: there is no exclusion until its holder is notified
//! ```
//!
//! The key is the escaped name: that of `reports/nightly` ends with `reports!2Fnightly`. [`ConsulStore::key`] returns it. Put it in
//! single quotes, because shells take the `!` for a command.
//!
//! To end a grant without losing exclusion, use [`LeaseClient::break_lease`](lease_core::LeaseClient::break_lease) with
//! `AfterExpiry`.

mod documents;
mod error;
mod http;
mod keys;
mod kv;
mod open;
mod options;
mod requests;
mod store;
mod transaction;
mod watch;
mod wire;

pub use options::ConsulStoreOptions;
/// The HTTP client, whose type is part of the signature of [`ConsulStoreOptions::connect_with`]. A new major version of it is a new
/// major version of this crate.
pub use reqwest;
pub use store::ConsulStore;

/// The name of the store in errors and capabilities.
const STORE: &str = "consul";

// The code of the README is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
