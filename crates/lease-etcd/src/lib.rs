//! Leases in etcd, for [`lease_core`].
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use lease_core::LeaseClient;
//! use lease_etcd::EtcdStore;
//!
//! # async fn example() -> lease_core::Result<()> {
//! let store = EtcdStore::connect(["http://etcd-1:2379", "http://etcd-2:2379", "http://etcd-3:2379"]).await?;
//!
//! let client = LeaseClient::new(store);
//! if let Some(lease) = client.try_acquire("nightly-report", Duration::from_secs(30)).await?.acquired() {
//!     println!("mine, with the token {}", lease.token());
//!     lease.release().await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! User and password, TLS, key prefix and timeouts are in [`EtcdStoreOptions`]; a driver's client that the application has will
//! do as well: [`EtcdStore::with_client`].
//!
//! **To build** it needs `protoc` (Debian, Ubuntu: `apt-get install protobuf-compiler libprotobuf-dev`).
//!
//! # What it promises
//!
//! * **One key a name**, `app-runtime-leases/` and the name, by default. Its create revision is the fencing token; its value, JSON that
//!   people can read, says who holds it. It is read and compared by its exact name, never by a prefix (S21).
//! * **One transaction an operation**, for one lease or for about a hundred at a time, in nested transactions; larger batches are split, as are those
//!   that the server refuses (L7).
//! * **The leader's clock judges expiry**, and it does not jump (S3). Ttls are whole seconds, rounded up, and no shorter
//!   than the servers grant: one and a half election timeouts, 2 s by default.
//!   [`min_ttl`](lease_core::Capabilities::min_ttl) says it, and the grant says what was granted.
//! * **Nothing lives on through its neighbours.** Grants share etcd leases, but these are never kept alive: a renewal *moves* the key to
//!   a newer one, in a transaction that compares whose grant it is, and that the key moves forwards (S7). What is not
//!   renewed, whatever the reason, dies with the etcd lease that it is on.
//! * **Fencing tokens** are revisions of the cluster: they rise over releases, expiry, deleted keys and restarts (S9). A cluster that
//!   is made anew from a snapshot goes back to the snapshot's revision, unless it is restored with `--bump-revision`.
//! * **Holders are told** when a key of theirs is deleted: by the same watch, and at once (S6).
//! * **Waiters are woken** by a watch, of releases, breaks and expiries, over one stream a store. Renewals are left out by the
//!   server. When the stream ends, on whichever endpoint, it goes on after what it has seen, and nothing is hinted that has not
//!   happened; where that is compacted away it begins anew and hints once to everybody (S20).
//! * **Endpoints are used one at a time**, any of them at first. A call that fails, has no answer in time or is abandoned by its
//!   caller takes the use of its connection with it: the next one goes to the next endpoint on a new connection, and a
//!   warning in the log says why. A connection is made once for all calls that wait for it, and a login outlives it. HTTP/2 cannot
//!   close a connection for one call without harm to the others on it, so the old one closes when the calls that are still
//!   on it have ended (S24).
//! * **Any runtime may use a store**, also several at a time: each has a connection of its own, and logs in for itself. (A driver's client
//!   that the application brings is bound to the runtime on which it was made.)
//! * **Mutual exclusion for data in the same cluster** with [`EtcdStore::fence`].
//!
//! # What it does not promise
//!
//! * Exclusion of *effects* elsewhere: send the token with the write. See [`lease_core`]'s page.
//! * That a **crashed holder's** name is free the moment its ttl is over: etcd looks for expired leases every half second. And a **new
//!   leader starts the full time of every lease anew**, since it does not know how much was left: a crash together with
//!   a leader change takes what had passed until then, the election, and the whole ttl. Measured with a ttl of 3 s:
//!   3.3 to 3.5 s; with the leader killed after 1.5 s, 6.5 to 7 s. It is never early.
//! * That the **nonce of a grant is remembered** after its end (S13): the key is gone. A delayed duplicate of an acquire, after the
//!   release, is a new grant with a new token, which nobody claims or renews; it is gone within a ttl.
//! * **Why** a key is gone: deleted, broken or on an etcd lease that was revoked by hand, all is
//!   [`LossReason::Gone`](lease_core::LossReason::Gone), since etcd keeps nothing that would tell it from an expiry. What is lost while the
//!   watch is down is told when it goes on, or by the next renewal.
//! * That a **revoked etcd lease** hits one grant only: the others on it are lost as well, and told so.
//! * That it goes on when **the quota is used up** (NOSPACE): then nothing is acquired or renewed, and leases are lost when they
//!   expire; inspecting, breaking and releasing go on. Each renewal is a revision, about 280 bytes of etcd's history, which
//!   etcd keeps for ever unless it is told otherwise: switch on `--auto-compaction-mode` and
//!   `--auto-compaction-retention`, and watch `etcd_mvcc_db_total_size_in_bytes`. Connecting logs a warning while the alarm is up, and
//!   errors name it.
//! * That **new members** are found: the endpoints are those that the store was given. Give it the address of a load balancer, or
//!   start the application anew, when all members are replaced.
//! * That tokens survive **lost data**: a cluster that has lost its data, or got an older state back, begins its revisions anew. Who
//!   held a lease before is told so at the next renewal, and frees nobody else's (each transaction compares whose grant
//!   a key is); but tokens, and with them [`EtcdStore::fence`], may be those of earlier grants. A warning is logged when a
//!   store sees that.
//! * That a name that was **handed over** leaves nothing behind: the etcd lease that kept it blocked stays, empty, for as long as the name
//!   was to be blocked.
//! * That rights are checked by every etcd: old versions did not look into nested transactions.
//!
//! # What keeps a name blocked
//!
//! A name that stays blocked after its grant has ended has a second key, `app-runtime-leases/job blocked` (names have no blanks, so
//! it is no other name's). After a release with `hold_for` it is on an etcd lease for that time (whole seconds and the servers'
//! minimum, here too), which it shares only with names that were released together; after a break
//! with [`AfterExpiry`](lease_core::Break::AfterExpiry) it is on the one that the grant was on, for what is left of it. The
//! grant's own key is gone at once, and with it every right to renew, to release and to pass the fence.
//!
//! # What an operator types
//!
//! ```sh
//! etcdctl get --prefix app-runtime-leases/                            # who holds what, and since when
//! etcdctl get -w json app-runtime-leases/job                          # create_revision is the token, lease the etcd lease
//! etcdctl lease timetolive $(printf %x $LEASE) --keys                 # what is left, and who shares it
//!
//! # break one now, by its token: exclusion is given up until the old holder is told
//! printf 'create("app-runtime-leases/job") = "1234"\n\ndel app-runtime-leases/job\n\n\n' | etcdctl txn
//! ```
//!
//! To end a grant and keep exclusion use [`LeaseClient::break_lease`](lease_core::LeaseClient::break_lease) with `AfterExpiry`. Do not revoke the etcd
//! lease: it is shared. Whoever overwrites the value of a key takes it from its holder, who is told at the next renewal.
//!
//! # Rights
//!
//! `readwrite` on the prefix. Granting etcd leases needs a user, but no right.

mod acquire;
mod admin;
mod buckets;
mod connections;
mod connector;
mod error;
mod fence;
mod handle;
mod history;
mod keys;
mod limits;
mod open;
mod options;
mod read;
mod recently_held;
mod record;
mod release;
mod remaining;
mod renew;
mod shared;
mod slots;
mod store;
mod transactions;
mod watch;

/// The driver, whose types are in [`EtcdStore::with_client`] and [`EtcdStore::fence`]: a new major version of it is one of this
/// crate.
pub use etcd_client;
pub use options::EtcdStoreOptions;
pub use store::EtcdStore;

/// The store's name in errors and capabilities.
const STORE: &str = "etcd";

// The code of the README is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
