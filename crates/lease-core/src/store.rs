//! What a provider implements.

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

/// Keeps leases: a database, a cache, a consensus service. The trait is for providers; applications use
/// [`LeaseClient`](crate::LeaseClient).
///
/// A store is a small set of atomic operations. It knows nothing of renewal, waiting, deadlines or events, and keeps no
/// map of leases: everything it needs travels in the [`Claim`]. `lease-testkit` proves an implementation.
///
/// * `acquire`, `renew` and `release` take many requests and answer one each, **in order**. Each element is atomic by
///   itself and fails by itself. A name stands at most once in a call. A call with one element should be the plain,
///   fastest form.
/// * Outcomes are values. `Err` means failed ([`ErrorKind::Unavailable`](crate::ErrorKind) when it was surely not done) or
///   unknown ([`ErrorKind::Indeterminate`](crate::ErrorKind)).
/// * The store's own clock judges expiry (S3).
///
/// # Cancel safety
///
/// Core drops the future of a call only when the call's time is over. The outcome is then unknown, and the provider must
/// close the connection that the call was on rather than use it again (S24).
#[async_trait]
pub trait LeaseStore: Debug + Send + Sync + 'static {
    /// What this store can do and what it promises. Must not change during the life of the store.
    fn capabilities(&self) -> Capabilities;

    /// One attempt per name; never waits for a name to become free. An attempt that loses neither locks nor writes, where the
    /// store knew a moment ago that the name was held: waiters poll, and must not be in the way of the holder (L2).
    ///
    /// Free, or expired by the store's clock: granted, with a token greater than all before (S9, S10). Held, or blocked
    /// after a release or a break: [`Acquired::Held`]. The nonce of the grant that is in force: the same grant again, same
    /// token, with what is left of it (S13). The nonce of a grant that has ended: [`Acquired::Spent`].
    async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>>;

    /// Extends grants to `now + ttl`, never shortens them, never changes a token, and never revives one that has expired,
    /// been released, broken or taken over (S7).
    async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>>;

    /// Ends grants, each only by its owner: name, holder and nonce must match (S11).
    async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>>;

    /// Who holds this name now; nothing when it is free or expired.
    async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>>;

    /// At most `limit` leases in force whose names begin with `prefix` and are greater than `after`, in the byte order of
    /// their names. Not a snapshot.
    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>>;

    /// Ends the grant with this token, whoever owns it (S22). [`Released::NotHeld`] when that grant is not in force.
    async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released>;

    /// Hints that `name` may have changed: after it was released or broken, and after a grant that asked to be announced.
    /// The first hint comes as soon as the subscription stands, and one more after each reconnect. Never blocks; trouble with
    /// the connection is the store's to repair, in the background. [`Wakeups::never`] where there is no push.
    fn subscribe(&self, name: &LeaseName) -> Wakeups;

    /// Where this store hints that grants have ended without their holders' doing. A client asks for it within a runtime, when
    /// it has held a lease for a second. Never blocks. The default is for stores that tell nobody, so that holders learn it at their
    /// next renewal; for [`Capabilities::push_to_holders`].
    fn revocations(&self) -> Revocations {
        Revocations::default()
    }

    /// Which part of the store has this name, for stores whose parts fail one by one, as the servers of a cluster do. Core puts
    /// only names of the same part into one call of `acquire`, `renew` or `release`, so that a part that hangs holds up nobody
    /// who wants something of another one (L7). Asked for each request: a name may move. Never blocks. The default is for
    /// stores that are one.
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
