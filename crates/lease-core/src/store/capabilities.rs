//! What a store can do and what it promises.

use std::time::Duration;

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
    /// Whether a grant, and a renewal, that was acknowledged is still there after its server has crashed and come back: on a
    /// server that is set up as the store's page says.
    pub grants_survive_crash: bool,
    /// Whether waiters are told of a release by push, rather than by polling alone.
    pub push: bool,
    /// Whether a client that has held a lease for a second is told by push, rather than at its next renewal, that a grant of
    /// its own was broken or its record removed.
    pub push_to_holders: bool,
    /// Whether the last grant is remembered after its end, so that a delayed duplicate of its request grants nothing (S13).
    pub remembers_last_grant: bool,
    /// How many calls of [`acquire`](crate::LeaseStore::acquire), and as many of [`release`](crate::LeaseStore::release), a
    /// client has under way at a time when many are waiting. Several where calls follow each other on one connection, so that
    /// the server works on one while the client works on another; one where calls would hinder each other, and larger ones are
    /// worth more. 0 counts as 1.
    pub calls_at_once: usize,
}

impl Capabilities {
    /// What a store with this name, lower case, can do at the least: ttls from a second to a year, by milliseconds; a server's
    /// wall clock judges; tokens rise over release and expiry only; a crash may lose grants; nothing is told by push, the last
    /// grant is not remembered, and there is one call at a time.
    #[must_use]
    pub const fn new(store: &'static str) -> Self {
        Self {
            store,
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(365 * 24 * 60 * 60),
            ttl_granularity: Duration::from_millis(1),
            expiry_judge: ExpiryJudge::ServerWallClock,
            tokens_survive: TokensSurvive::new(),
            grants_survive_crash: false,
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

    /// With grants that survive a crash of the server, or not.
    #[must_use]
    pub const fn with_grants_survive_crash(self, grants_survive_crash: bool) -> Self {
        Self { grants_survive_crash, ..self }
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
