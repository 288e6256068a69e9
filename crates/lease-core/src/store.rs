//! The trait that a provider implements, and its values.

mod acquire;
mod capabilities;
mod record;
mod release;
mod renew;
mod revocations;
mod wakeups;

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;

pub(crate) use self::revocations::Subscriber;
pub use self::{
    acquire::{AcquireRequest, Acquired, Claim, Grant},
    capabilities::{Capabilities, ExpiryJudge, TokensSurvive},
    record::LeaseRecord,
    release::{Break, ReleaseRequest, Released},
    renew::{MetadataUpdate, RenewRequest, Renewed},
    revocations::Revocations,
    wakeups::{WakeupRegistry, Wakeups},
};
use crate::{FencingToken, LeaseName, Result};

/// A place that keeps leases: a database, a cache, a consensus service. This trait is for providers; applications use
/// [`LeaseClient`](crate::LeaseClient).
///
/// A store is a small set of atomic operations. Renewal, waiting, deadlines and events are the client's. A store keeps no map of
/// leases in memory: everything it needs is in the [`Claim`]. The suite in `lease-testkit` proves an implementation.
///
/// * `acquire`, `renew` and `release` take many requests and return one result for each, **in order**. Each request is atomic by
///   itself and fails by itself. A name occurs at most once in a call. A call with one request should take the fastest path.
/// * Outcomes are values. An `Err` means that the request failed ([`ErrorKind::Unavailable`](crate::ErrorKind) if it certainly
///   had no effect) or that its outcome is unknown ([`ErrorKind::Indeterminate`](crate::ErrorKind)).
/// * The store's own clock decides whether a lease has expired (S3).
///
/// # Cancel safety
///
/// The client drops the future of a call only when the call has timed out. The outcome is then unknown, and the provider must
/// close the connection of that call instead of using it again (S24).
#[async_trait]
pub trait LeaseStore: Debug + Send + Sync + 'static {
    /// Returns what this store can do and what it promises. Must return the same value during the life of the store.
    fn capabilities(&self) -> Capabilities;

    /// Tries to acquire each name once. Never waits for a name to become free. An attempt for a name that is held neither locks
    /// nor writes its record, where a recent read showed that it is held: waiters poll, and must not slow down the holder (L2).
    ///
    /// | the name is | outcome |
    /// |---|---|
    /// | free, or its lease has expired by the store's clock | [`Acquired::Granted`], with a token greater than all before (S9, S10) |
    /// | held, or blocked after a release or a break | [`Acquired::Held`] |
    /// | held by a grant with the nonce of the request | [`Acquired::Granted`]: the same grant and token, with the time that remains (S13) |
    /// | free, after a grant with the nonce of the request has ended | [`Acquired::Spent`] |
    async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>>;

    /// Extends grants to `now + ttl`. Never shortens a grant, never changes its token, and never revives one that has expired or
    /// was released, broken or taken over (S7).
    async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>>;

    /// Ends grants. A request ends only the grant that it owns: name, holder and nonce must match (S11).
    async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>>;

    /// Returns the lease of this name that is in force, or `None` if the name is free or its lease has expired.
    async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>>;

    /// Returns at most `limit` leases that are in force, whose names begin with `prefix` and come after `after`, in the byte order
    /// of their names. Pages are not a snapshot.
    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>>;

    /// Ends the grant with this token, whichever holder owns it (S22). Returns [`Released::NotHeld`] if that grant is not in force.
    async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released>;

    /// Subscribes to hints that `name` may have changed: after a release or a break, and after a grant that was requested with
    /// [`announce`](AcquireRequest::announce). The first hint is sent as soon as the subscription is active, and one more after
    /// each reconnect. Never blocks; the store repairs its connection in the background. A store without push returns
    /// [`Wakeups::never`].
    fn subscribe(&self, name: &LeaseName) -> Wakeups;

    /// Returns the feed of grants that ended early, for stores with [`Capabilities::push_to_holders`]. A client subscribes within a
    /// runtime, when it has held a lease for a second. Never blocks. The default is a feed without hints: holders learn of the end
    /// at their next renewal.
    fn revocations(&self) -> Revocations {
        Revocations::default()
    }

    /// Returns the number of the part of the store that has this name, for stores whose parts fail independently, such as the
    /// servers of a cluster. The client puts only names of the same part into one call of `acquire`, `renew` or `release`, so that
    /// a part that hangs delays no requests for another one (L7). Called for each request, because a name may move. Never blocks.
    /// The default is 0 for all names: the store is one part.
    fn part_of(&self, _name: &LeaseName) -> u16 {
        0
    }
}

/// A shared store is a store.
#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: LeaseStore + ?Sized> LeaseStore for Arc<S> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        (**self).acquire(requests).await
    }

    async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        (**self).renew(requests).await
    }

    async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        (**self).release(requests).await
    }

    async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        (**self).inspect(name).await
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        (**self).list(prefix, after, limit).await
    }

    async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
        (**self).break_lease(name, token, how).await
    }

    fn subscribe(&self, name: &LeaseName) -> Wakeups {
        (**self).subscribe(name)
    }

    fn revocations(&self) -> Revocations {
        (**self).revocations()
    }

    fn part_of(&self, name: &LeaseName) -> u16 {
        (**self).part_of(name)
    }
}
