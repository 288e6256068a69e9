//! What a provider implements.

use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;

use crate::{Endings, FencingToken, GrantId, HolderId, LeaseName, Metadata, Result, Wakeups};

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

    /// One attempt per name; never waits for a name to become free. An attempt that loses neither locks nor writes: waiters
    /// poll, and must not be in the way of the holder (L2).
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
    fn endings(&self) -> Endings {
        Endings::default()
    }
}

/// Asks for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcquireRequest {
    /// The lease that is wanted.
    pub name: LeaseName,
    /// Who wants it.
    pub holder: HolderId,
    /// The nonce of this attempt (S13).
    pub grant: GrantId,
    /// How long it shall last. Within the store's limits.
    pub ttl: Duration,
    /// What anybody may read of the holder; stored as revision 0.
    pub metadata: Metadata,
    /// Whether a grant shall be hinted to subscribers.
    pub announce: bool,
}

impl AcquireRequest {
    /// A request without metadata, not announced.
    #[must_use]
    pub const fn new(name: LeaseName, holder: HolderId, grant: GrantId, ttl: Duration) -> Self {
        Self { name, holder, grant, ttl, metadata: Metadata::empty(), announce: false }
    }

    /// For this name.
    #[must_use]
    pub fn with_name(self, name: LeaseName) -> Self {
        Self { name, ..self }
    }

    /// For this holder.
    #[must_use]
    pub fn with_holder(self, holder: HolderId) -> Self {
        Self { holder, ..self }
    }

    /// With this nonce.
    #[must_use]
    pub fn with_grant(self, grant: GrantId) -> Self {
        Self { grant, ..self }
    }

    /// With this ttl.
    #[must_use]
    pub fn with_ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// With this metadata.
    #[must_use]
    pub fn with_metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// With or without a hint to subscribers.
    #[must_use]
    pub fn with_announce(self, announce: bool) -> Self {
        Self { announce, ..self }
    }

    /// What a store needs to know of the grant with this handle that answers the request.
    #[must_use]
    pub fn claim(&self, handle: u64) -> Claim {
        Claim::new(self.name.clone(), self.holder.clone(), self.grant).with_handle(handle)
    }
}

/// The outcome of an [`AcquireRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acquired {
    /// The lease is the caller's.
    Granted(Grant),
    /// Somebody else has it, or it is blocked.
    Held {
        /// Who has it, where the store can say.
        by: Option<LeaseRecord>,
        /// After which time it may be free, where the store can say.
        retry_after: Option<Duration>,
    },
    /// This nonce was granted before, and that grant has ended: nothing is granted (S13).
    Spent,
}

/// One tenure of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// Greater than every earlier one of this name (S9).
    pub token: FencingToken,
    /// What is left of the grant, at the least, counted from the moment when the call of the store began (S1).
    pub remaining: Duration,
    /// Something of the store's own that comes back in every [`Claim`]; opaque to core.
    pub handle: u64,
}

impl Grant {
    /// A grant with this token, of which so much is left at least. Its handle is 0.
    #[must_use]
    pub const fn new(token: FencingToken, remaining: Duration) -> Self {
        Self { token, remaining, handle: 0 }
    }

    /// With something of the store's own.
    #[must_use]
    pub const fn with_handle(self, handle: u64) -> Self {
        Self { handle, ..self }
    }
}

/// Everything that a store needs to know whose grant is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claim {
    /// The lease.
    pub name: LeaseName,
    /// Who holds it.
    pub holder: HolderId,
    /// The nonce with which it was acquired.
    pub grant: GrantId,
    /// What the store said in [`Grant::handle`]; zero when its answer never arrived (S11).
    pub handle: u64,
}

impl Claim {
    /// A claim to the grant that was asked for with this nonce. Its handle is 0.
    #[must_use]
    pub const fn new(name: LeaseName, holder: HolderId, grant: GrantId) -> Self {
        Self { name, holder, grant, handle: 0 }
    }

    /// To a grant of this name.
    #[must_use]
    pub fn with_name(self, name: LeaseName) -> Self {
        Self { name, ..self }
    }

    /// Of this holder.
    #[must_use]
    pub fn with_holder(self, holder: HolderId) -> Self {
        Self { holder, ..self }
    }

    /// With this nonce.
    #[must_use]
    pub fn with_grant(self, grant: GrantId) -> Self {
        Self { grant, ..self }
    }

    /// With what the store said in [`Grant::handle`].
    #[must_use]
    pub fn with_handle(self, handle: u64) -> Self {
        Self { handle, ..self }
    }
}

/// Asks for an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RenewRequest {
    /// Whose grant.
    pub claim: Claim,
    /// The grant's ttl.
    pub ttl: Duration,
    /// New metadata. The store keeps it if its revision is higher than the one it has.
    pub metadata: Option<MetadataUpdate>,
}

impl RenewRequest {
    /// A renewal without new metadata.
    #[must_use]
    pub const fn new(claim: Claim, ttl: Duration) -> Self {
        Self { claim, ttl, metadata: None }
    }

    /// With this ttl.
    #[must_use]
    pub fn with_ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// With new metadata.
    #[must_use]
    pub fn with_metadata(self, metadata: impl Into<Option<MetadataUpdate>>) -> Self {
        Self { metadata: metadata.into(), ..self }
    }
}

/// Metadata that replaces what a lease has, unless that is newer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetadataUpdate {
    /// Counts the changes within one grant, from 1.
    pub revision: u64,
    /// All of the new metadata.
    pub metadata: Metadata,
}

impl MetadataUpdate {
    /// The change with this number, from 1.
    #[must_use]
    pub const fn new(revision: u64, metadata: Metadata) -> Self {
        Self { revision, metadata }
    }
}

/// The outcome of a [`RenewRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Renewed {
    /// The grant goes on.
    Extended {
        /// What is left of it, at the least, counted from the moment when the call of the store began (S8).
        remaining: Duration,
    },
    /// The grant is over, as far as the store knows for this reason.
    Lost(LossReason),
}

/// Asks for the end of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReleaseRequest {
    /// Whose grant.
    pub claim: Claim,
    /// How long the name stays blocked after the release; zero frees it at once.
    pub hold_for: Duration,
    /// Who may acquire it during that time all the same.
    pub reserved_for: Option<HolderId>,
}

impl ReleaseRequest {
    /// A release that frees the name at once.
    #[must_use]
    pub const fn new(claim: Claim) -> Self {
        Self { claim, hold_for: Duration::ZERO, reserved_for: None }
    }

    /// With the name blocked for this time.
    #[must_use]
    pub fn with_hold_for(self, hold_for: Duration) -> Self {
        Self { hold_for, ..self }
    }

    /// With the name reserved for this holder while it is blocked.
    #[must_use]
    pub fn with_reserved_for(self, reserved_for: impl Into<Option<HolderId>>) -> Self {
        Self { reserved_for: reserved_for.into(), ..self }
    }
}

/// The outcome of a release or a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Released {
    /// The grant has been ended by this call.
    Freed,
    /// The grant was not in force any more; nothing was changed.
    NotHeld,
}

/// How an administrator ends somebody's grant (S22). Exhaustive: a provider must know every way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Refuses further renewals, and leaves the name blocked for what is left of the grant. Exclusion holds.
    AfterExpiry,
    /// Frees the name at once. Exclusion is given up: until it is told, at its next renewal at the latest, the old holder
    /// believes that it holds the lease, and only the fencing token protects.
    Now,
}

/// A lease in force, as anybody can see it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseRecord {
    /// The lease.
    pub name: LeaseName,
    /// Who holds it; while it is blocked after a release, who did.
    pub holder: HolderId,
    /// The token of the grant.
    pub token: FencingToken,
    /// When it was granted, by the store's wall clock. For people; nothing is decided by it (S3).
    pub acquired_at: SystemTime,
    /// How long it lasts from a grant or renewal on.
    pub ttl: Duration,
    /// What was left of it when the store looked.
    pub remaining: Duration,
    /// What the holder says about itself.
    pub metadata: Metadata,
    /// Its holder has released it, and the name is merely blocked for what remains: by
    /// [`hold_at_least`](crate::LeaseOptions::hold_at_least), or by a hand-over.
    pub released: bool,
}

impl LeaseRecord {
    /// A record without metadata, of a lease that was granted at the beginning of 1970 and is not released.
    #[must_use]
    pub const fn new(
        name: LeaseName,
        holder: HolderId,
        token: FencingToken,
        ttl: Duration,
        remaining: Duration,
    ) -> Self {
        Self {
            name,
            holder,
            token,
            acquired_at: SystemTime::UNIX_EPOCH,
            ttl,
            remaining,
            metadata: Metadata::empty(),
            released: false,
        }
    }

    /// Granted at this time.
    #[must_use]
    pub fn with_acquired_at(self, acquired_at: SystemTime) -> Self {
        Self { acquired_at, ..self }
    }

    /// With so much left.
    #[must_use]
    pub fn with_remaining(self, remaining: Duration) -> Self {
        Self { remaining, ..self }
    }

    /// With this metadata.
    #[must_use]
    pub fn with_metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// Released, and merely blocked, or not.
    #[must_use]
    pub fn with_released(self, released: bool) -> Self {
        Self { released, ..self }
    }
}

/// Why a lease is no longer held. Reported once per grant (L6).
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum LossReason {
    /// It could not be renewed in time.
    #[error("it expired")]
    Expired,
    /// Somebody else has it.
    #[error("it was taken over")]
    #[non_exhaustive]
    TakenOver {
        /// Who, where the store can say.
        by: Option<HolderId>,
        /// With which token, where the store can say.
        token: Option<FencingToken>,
    },
    /// An administrator ended it.
    #[error("it was broken by an administrator")]
    Broken,
    /// The store knows nothing of it.
    #[error("the store has no record of it")]
    Gone,
    /// It was held as long as `max_tenure` allows.
    #[error("its longest tenure is over")]
    TenureEnded,
    /// The client was closed, or the runtime that renewed it has ended.
    #[error("its client is gone")]
    ClientGone,
    /// Its holder released or abandoned it.
    #[error("it was released")]
    Released,
}

impl LossReason {
    /// Somebody else has it: who, and with which token, where the store can say.
    #[must_use]
    pub fn taken_over(by: impl Into<Option<HolderId>>, token: impl Into<Option<FencingToken>>) -> Self {
        Self::TakenOver { by: by.into(), token: token.into() }
    }
}

/// What a store can do. Tests are chosen by it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Capabilities {
    /// The store's name, lower case: `"postgres"`.
    pub store: &'static str,
    /// The smallest ttl that is granted as it was asked for.
    pub min_ttl: Duration,
    /// The largest ttl.
    pub max_ttl: Duration,
    /// A ttl is rounded up to a multiple of this.
    pub ttl_granularity: Duration,
    /// Whose clock judges expiry.
    pub expiry_judge: ExpiryJudge,
    /// What the rising of tokens survives.
    pub tokens_survive: TokensSurvive,
    /// Whether waiters are told of a release by push, rather than by polling alone.
    pub push: bool,
    /// Whether a client that has held a lease for a second is told by push, rather than at its next renewal, that a grant of
    /// its own was broken or its record removed.
    pub push_to_holders: bool,
    /// Whether the last grant is remembered after its end, so that a delayed duplicate of its request grants nothing (S13).
    pub remembers_last_grant: bool,
    /// How many calls of [`LeaseStore::acquire`], and as many of [`LeaseStore::release`], a client has under way at a time
    /// when many are waiting. Several where calls follow each other on one connection, so that the server works on one while
    /// the client works on another; one where calls would hinder each other, and larger ones are worth more. 0 counts as 1.
    pub calls_at_once: usize,
}

impl Capabilities {
    /// What a store with this name, lower case, can do at the least: ttls from a second to a year, by milliseconds; a server's
    /// wall clock judges; tokens rise over release and expiry only; nothing is told by push, the last grant is not
    /// remembered, and there is one call at a time.
    #[must_use]
    pub const fn new(store: &'static str) -> Self {
        Self {
            store,
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(365 * 24 * 60 * 60),
            ttl_granularity: Duration::from_millis(1),
            expiry_judge: ExpiryJudge::ServerWallClock,
            tokens_survive: TokensSurvive::new(),
            push: false,
            push_to_holders: false,
            remembers_last_grant: false,
            calls_at_once: 1,
        }
    }

    /// With these limits of a ttl, and the steps in which it is kept.
    #[must_use]
    pub const fn with_ttl(self, min_ttl: Duration, max_ttl: Duration, ttl_granularity: Duration) -> Self {
        Self { min_ttl, max_ttl, ttl_granularity, ..self }
    }

    /// With this judge of expiry.
    #[must_use]
    pub const fn with_expiry_judge(self, expiry_judge: ExpiryJudge) -> Self {
        Self { expiry_judge, ..self }
    }

    /// With tokens that keep rising over this.
    #[must_use]
    pub const fn with_tokens_survive(self, tokens_survive: TokensSurvive) -> Self {
        Self { tokens_survive, ..self }
    }

    /// With or without push to waiters.
    #[must_use]
    pub const fn with_push(self, push: bool) -> Self {
        Self { push, ..self }
    }

    /// With or without push to holders.
    #[must_use]
    pub const fn with_push_to_holders(self, push_to_holders: bool) -> Self {
        Self { push_to_holders, ..self }
    }

    /// With or without the memory of the last grant.
    #[must_use]
    pub const fn with_remembers_last_grant(self, remembers_last_grant: bool) -> Self {
        Self { remembers_last_grant, ..self }
    }

    /// With so many calls at a time.
    #[must_use]
    pub const fn with_calls_at_once(self, calls_at_once: usize) -> Self {
        Self { calls_at_once, ..self }
    }
}

/// Whose clock judges whether a lease has expired (S3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum ExpiryJudge {
    /// The wall clock of the store's server: a jump of it moves expiry.
    ServerWallClock,
    /// A clock of the store that does not jump.
    ServerMonotonicClock,
    /// The clock of this process, which is all of the store.
    Process,
}

/// What fencing tokens keep rising over (S9). All stores keep them rising over release and expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TokensSurvive {
    /// The removal of the lease's record, by a purge or by hand.
    pub removal: bool,
    /// A restart of the store.
    pub restart: bool,
    /// A fail-over that loses acknowledged writes, or an older backup put back.
    pub data_loss: bool,
}

impl TokensSurvive {
    /// Release and expiry only.
    #[must_use]
    pub const fn new() -> Self {
        Self { removal: false, restart: false, data_loss: false }
    }

    /// The removal of the lease's record as well.
    #[must_use]
    pub const fn removal(self) -> Self {
        Self { removal: true, ..self }
    }

    /// A restart of the store as well.
    #[must_use]
    pub const fn restart(self) -> Self {
        Self { restart: true, ..self }
    }

    /// A fail-over that loses acknowledged writes, or an older backup put back, as well.
    #[must_use]
    pub const fn data_loss(self) -> Self {
        Self { data_loss: true, ..self }
    }
}

impl Default for TokensSurvive {
    fn default() -> Self {
        Self::new()
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

    fn endings(&self) -> Endings {
        (**self).endings()
    }
}
