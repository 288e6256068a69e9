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
//!     println!("acquired with token {}", lease.token());
//!     lease.release().await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`EtcdStoreOptions`] sets user and password, TLS, the key prefix and timeouts. To use a client of the driver that the
//! application has already, see [`EtcdStore::with_client`].
//!
//! **Building** this crate needs `protoc` (Debian, Ubuntu: `apt-get install protobuf-compiler libprotobuf-dev`).
//!
//! # What it promises
//!
//! * **One key per name.** The key is `app-runtime-leases/` (by default) and the name. Its create revision is the fencing
//!   token; its value is readable JSON with the holder. A key is read and compared by its exact name, never by a prefix
//!   (S21).
//! * **One transaction per operation**, for one lease or for up to about a hundred, nested in one transaction. Larger batches
//!   are split, and so are batches that the server refuses (L7).
//! * **The leader's clock judges expiry**, and it does not jump (S3). Ttls are whole seconds, rounded up, and at least the
//!   servers' minimum: one and a half election timeouts, 2 s by default.
//!   [`min_ttl`](lease_core::Capabilities::min_ttl) returns this minimum, and each grant has the ttl that was granted.
//! * **A lease never lives on because of its neighbours.** Grants share etcd leases, but these are never kept alive. A
//!   renewal *moves* the key to a newer etcd lease, in a transaction that compares that the key belongs to the grant and that
//!   its expiry gets later (S7). A key that is not renewed, for whatever reason, is deleted with the etcd lease that it is
//!   on.
//! * **Fencing tokens** are revisions of the cluster. They rise over releases, expiry, deleted keys and restarts (S9). A
//!   cluster that is restored from a snapshot goes back to the snapshot's revision, unless it is restored with
//!   `etcdutl snapshot restore --bump-revision … --mark-compacted`. The `etcdctl` of etcd 3.4 does not have this option.
//! * **Holders are notified** at once when their key is deleted, by the same watch as waiters (S6).
//! * **Waiters are woken** by a watch of releases, breaks and expiries, over one stream per store. The server filters out
//!   renewals. When the stream ends, the store opens a new one, on any endpoint, and continues after the last revision that
//!   it has received, so that it hints at nothing that has not happened. If that revision was compacted, the watch starts at
//!   the current one, and all waiters are hinted once (S20).
//! * **Endpoints are used one at a time**, beginning with a random one. When a call fails, is not answered in time or is
//!   abandoned by its caller, its connection is left: the next call goes to the next endpoint on a new connection, and a
//!   warning in the log names the reason. A connection is made once for all calls that wait for it, and a login outlives it.
//!   HTTP/2 cannot cancel one call without harm to the others on its connection, so the old connection closes when its calls
//!   in flight have ended (S24).
//! * **A store can be used on any runtime**, and on several at a time: each has its own connection and its own login. (The
//!   application's own client is bound to the runtime on which it was created.)
//! * **Mutual exclusion for data in the same cluster**, with [`EtcdStore::fence`].
//!
//! # What it does not promise
//!
//! * **Exclusion of effects elsewhere.** Send the token with the write; see the page of [`lease_core`].
//! * **That the name of a crashed holder is free the moment its ttl ends.** etcd looks for expired leases every half second.
//!   A **new leader starts the full ttl of every etcd lease again**, because it does not know how much was left. A crash
//!   together with a change of the leader takes the time until that change, the election, and the whole ttl. Measured with a
//!   ttl of 3 s: 3.3 to 3.6 s; with the leader killed after 1.5 s, 6.5 to 7 s. A lease never ends early. Before etcd 3.5, set
//!   `--pre-vote=true` on each member: otherwise a member that comes back from an isolation deposes the leader, and all leases
//!   start again once more.
//! * **That the nonce of a grant is remembered** after its end (S13): it is deleted with the key. A delayed duplicate of an
//!   acquire, after the release, is a new grant with a new token. No holder claims or renews it, so it expires within a ttl.
//! * **Why a key was deleted.** For a key that was deleted, broken, or on an etcd lease that was revoked by hand, the reason
//!   of the loss is [`LossReason::Gone`](lease_core::LossReason::Gone), because etcd keeps no record that distinguishes these
//!   from an expiry. A loss while the watch is interrupted is reported when the watch continues, or by the next renewal.
//! * **That a revoked etcd lease ends one grant only.** The other grants on it are lost as well, and their holders are
//!   notified.
//! * **Operation at the quota** (NOSPACE). When the storage quota is used up, nothing can be acquired or renewed, and leases
//!   are lost when they expire; inspecting, breaking and releasing still work. See [Growth](#growth).
//! * **Discovery of new members.** The endpoints are those that the store was created with. If all members may be replaced,
//!   use the address of a load balancer, or restart the application.
//! * **That tokens survive the loss of data.** A cluster that has lost its data, or was restored to an older state, starts
//!   its revisions again. A former holder observes the loss at its next renewal, and cannot free the lease of another holder
//!   (each transaction compares that the key belongs to the grant). But tokens, and with them [`EtcdStore::fence`], may
//!   repeat those of earlier grants. A store that observes this logs a warning.
//! * **That a handed-over name leaves nothing behind.** The etcd lease that kept the name blocked stays, empty, for the time
//!   for which the name was to be blocked.
//! * **That every version of etcd checks rights.** Before 3.4.42, 3.5.28 and 3.6.9 (CVE-2026-33343), etcd does not check nested
//!   transactions. Whoever reaches such a server can read and write all keys with them, even without a user. A call for several
//!   leases is a nested transaction, so it succeeds there without the rights that a call for one lease needs.
//!
//! # How a name is kept blocked
//!
//! A name that stays blocked after its grant has ended has a second key, `app-runtime-leases/job blocked`. (Names contain no
//! blanks, so this is not the key of another name.) After a release with `hold_for`, this key is on an etcd lease of that
//! time (in whole seconds, and at least the servers' minimum), which is shared only with names that were released in the same
//! call. After a break with [`AfterExpiry`](lease_core::Break::AfterExpiry), it is on the etcd lease that the grant was on,
//! for the time that is left. The grant's own key is deleted at once, which ends every right to renew, to release and to pass
//! the fence.
//!
//! # Commands for operators
//!
//! ```sh
//! etcdctl get --prefix app-runtime-leases/                            # all leases, their holders and when they were acquired
//! etcdctl get -w json app-runtime-leases/job                          # create_revision is the token, lease the etcd lease
//! etcdctl lease timetolive $(printf %x $LEASE) --keys                 # the time left, and the other keys on it
//!
//! # Break a lease now, by its token. There is no exclusion until the old holder is notified.
//! printf 'create("app-runtime-leases/job") = "1234"\n\ndel app-runtime-leases/job\n\n\n' | etcdctl txn
//! ```
//!
//! To end a grant without losing exclusion, use [`LeaseClient::break_lease`](lease_core::LeaseClient::break_lease) with
//! `AfterExpiry`. Do not revoke the etcd lease, because it is shared. Overwriting the value of a key takes the lease from its
//! holder, which observes the loss at its next renewal. After `etcdctl put` without `--lease` the key never expires: the name stays
//! held until the key is deleted.
//!
//! # Fail-over
//!
//! No grant is lost. Calls fail while the cluster has no leader, usually for one or two seconds, and are repeated as the same
//! attempt. A member that is dead, hangs, or has no leader is left for the next endpoint. A lease is lost if the fail-over takes
//! longer than the rest of its validity, usually at least two thirds of its ttl. Without a majority of the members, nothing is
//! granted or renewed, and nothing expires.
//!
//! The log shows, under the target `lease_etcd` (warn):
//!
//! * `etcd endpoint left`, with the endpoint and the reason. Typical reasons are `etcdserver: leader changed`, `etcd cannot be
//!   reached: …` and, for a member that hangs, `a call was abandoned by its caller`;
//! * `etcd endpoint left: no connection`, for each failed attempt to connect;
//! * `the etcd watch is interrupted`. Until it is back, waiters poll, and holders observe a loss at the next renewal.
//!
//! Under `lease`: `in jeopardy` (warn), once for each lease whose renewal failed, with the reason, usually `no answer within …`;
//! then `out of jeopardy` (info) or `lost` (warn).
//!
//! After a loss of data, `lease_etcd` logs `the revision of etcd has fallen` or `another etcd cluster answers` (warn): reset every
//! resource that refuses older tokens.
//!
//! # Growth
//!
//! By default etcd keeps the whole history of its keys. Each acquire, renewal and release adds to it; a renewal adds about 300
//! bytes, plus the metadata of the lease. A lease that is renewed every 10 s thus adds 2.6 MB a day, and 800 of them use up the
//! default quota of 2 GiB within a day. So set `--auto-compaction-mode=periodic` and `--auto-compaction-retention=1h`, for example:
//! the database then stays at about what two hours add. Monitor `etcd_mvcc_db_total_size_in_bytes`.
//!
//! No key stays after a lease has ended. A store creates an etcd lease for each ttl at most once in a tenth of that ttl, however
//! many names it has; about a dozen of them exist at a time.
//!
//! When the quota is used up, etcd raises the alarm NOSPACE. Errors then name it, and connecting logs `etcd is in trouble` (warn).
//! The alarm stays until it is disarmed:
//!
//! ```sh
//! etcdctl compact --physical $(etcdctl endpoint status -w json | grep -o '"revision":[0-9]*' | head -1 | cut -d: -f2)
//! etcdctl defrag --cluster     # each member in turn does not answer meanwhile
//! etcdctl alarm disarm
//! ```
//!
//! # Rights
//!
//! The store needs `readwrite` on the prefix. Creating etcd leases needs no right.
//!
//! ```sh
//! etcdctl role add app
//! etcdctl role grant-permission --prefix app readwrite app-runtime-leases/
//! etcdctl user add app         # asks for the password
//! etcdctl user grant-role app app
//! ```

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

/// The driver, whose types are part of the signatures of [`EtcdStore::with_client`] and [`EtcdStore::fence`]. A new major
/// version of the driver is a new major version of this crate.
pub use etcd_client;
pub use options::EtcdStoreOptions;
pub use store::EtcdStore;

/// The name of the store in errors and capabilities.
const STORE: &str = "etcd";

// The code of the README is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
