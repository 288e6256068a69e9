//! The capabilities of a store.

use std::time::Duration;

/// What a store can do, and what it promises. The conformance suite selects its cases by this.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Capabilities {
    /// The store's name, lower case: `"postgres"`.
    pub store: &'static str,
    /// The smallest ttl.
    pub min_ttl: Duration,
    /// The largest ttl.
    pub max_ttl: Duration,
    /// The granularity of a ttl: it is rounded up to a multiple of this.
    pub ttl_granularity: Duration,
    /// Which clock decides whether a lease has expired.
    pub expiry_judge: ExpiryJudge,
    /// The events after which tokens still rise.
    pub tokens_survive: TokensSurvive,
    /// Whether acknowledged grants and renewals survive a crash and restart of the server, if the server is configured as the
    /// provider's documentation says.
    pub grants_survive_crash: bool,
    /// Whether a release is pushed to waiters, rather than noticed by polling only.
    pub push: bool,
    /// Whether a holder is notified by push that its grant was broken or its record removed, rather than at its next renewal. It
    /// applies to clients that have held a lease for a second.
    pub push_to_holders: bool,
    /// Whether the last grant is recorded beyond its end, so that a delayed duplicate of its request grants nothing (S13).
    pub remembers_last_grant: bool,
    /// Whether a lease that has expired for one process has expired for all. True where the store judges expiry. False where each
    /// process does, by what it has learned of the store's clock or by watching (S2): they disagree by as much as their knowledge
    /// differs, and none is early.
    pub agrees_on_expiry: bool,
    /// Whether a renewal that was sent before the expiry, and reaches the store after it but before any rival, extends the grant.
    /// This is the form of S7 of a store that can only write on condition that nothing has changed: it judges the expiry before
    /// it sends the write. Every other store answers [`Renewed::Lost`](crate::Renewed::Lost).
    pub extends_late_renewals: bool,
    /// Whether a renewal may displace the grant of a rival, after a loss of data that gave both the same version of the record.
    /// Both hold the lease until the next renewal of the rival, which finds it lost. A store that does not declare it lets the
    /// rival keep the lease; there, too, both hold it until the next renewal of the older holder.
    pub displaces_after_data_loss: bool,
    /// How many calls of [`acquire`](crate::LeaseStore::acquire) a client has in flight under load, and as many of
    /// [`release`](crate::LeaseStore::release). More than one suits a store whose calls are pipelined on one connection: the
    /// server processes one call while the client prepares another. One suits a store where concurrent calls slow each other
    /// down, and larger batches are faster. 0 counts as 1.
    pub calls_at_once: usize,
    /// How many requests a call may have; a client never sends more than 256, the default. Fewer suit a store that sends a request of
    /// its own for each: a large call would then be several rounds long, and one that is cut off at its timeout loses the answers
    /// that had come (L7). Renewals then use [`calls_at_once`](Self::calls_at_once) calls, too. 0 counts as 1.
    pub largest_call: usize,
    /// The interval at which a waiter looks whether a name is free, where no hint tells it: from this to twice this, with jitter,
    /// and earlier when the holder's lease expires. A [watch](crate::LeaseClient::watch) reads the record every two intervals.
    /// Longer ones suit a store that charges for each request; without push, a waiter then wins that much later after a release.
    /// Less than 10 ms counts as 10 ms.
    pub poll_interval: Duration,
}

impl Capabilities {
    /// Creates the capabilities of a minimal store with this name, in lower case: ttls from one second to one year, in steps of
    /// a millisecond; expiry by the server's wall clock; tokens that rise over release and expiry only; grants that a crash may
    /// lose; no push; no record of the last grant; one call at a time; and a poll every second.
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
            agrees_on_expiry: true,
            extends_late_renewals: false,
            displaces_after_data_loss: false,
            calls_at_once: 1,
            largest_call: 256,
            poll_interval: Duration::from_secs(1),
        }
    }

    /// Sets the smallest and the largest ttl, and its granularity.
    #[must_use]
    pub const fn with_ttl(self, min_ttl: Duration, max_ttl: Duration, ttl_granularity: Duration) -> Self {
        Self { min_ttl, max_ttl, ttl_granularity, ..self }
    }

    /// Sets which clock decides whether a lease has expired.
    #[must_use]
    pub const fn with_expiry_judge(self, expiry_judge: ExpiryJudge) -> Self {
        Self { expiry_judge, ..self }
    }

    /// Sets the events after which tokens still rise.
    #[must_use]
    pub const fn with_tokens_survive(self, tokens_survive: TokensSurvive) -> Self {
        Self { tokens_survive, ..self }
    }

    /// Sets whether acknowledged grants survive a crash of the server.
    #[must_use]
    pub const fn with_grants_survive_crash(self, grants_survive_crash: bool) -> Self {
        Self { grants_survive_crash, ..self }
    }

    /// Sets whether releases are pushed to waiters.
    #[must_use]
    pub const fn with_push(self, push: bool) -> Self {
        Self { push, ..self }
    }

    /// Sets whether the early end of a grant is pushed to its holder.
    #[must_use]
    pub const fn with_push_to_holders(self, push_to_holders: bool) -> Self {
        Self { push_to_holders, ..self }
    }

    /// Sets whether the last grant is recorded beyond its end.
    #[must_use]
    pub const fn with_remembers_last_grant(self, remembers_last_grant: bool) -> Self {
        Self { remembers_last_grant, ..self }
    }

    /// Sets whether a lease expires for all processes at once.
    #[must_use]
    pub const fn with_agrees_on_expiry(self, agrees_on_expiry: bool) -> Self {
        Self { agrees_on_expiry, ..self }
    }

    /// Sets whether a late renewal extends a grant that nobody has taken over.
    #[must_use]
    pub const fn with_extends_late_renewals(self, extends_late_renewals: bool) -> Self {
        Self { extends_late_renewals, ..self }
    }

    /// Sets whether a renewal may displace a rival after a loss of data.
    #[must_use]
    pub const fn with_displaces_after_data_loss(self, displaces_after_data_loss: bool) -> Self {
        Self { displaces_after_data_loss, ..self }
    }

    /// Sets the number of concurrent calls.
    #[must_use]
    pub const fn with_calls_at_once(self, calls_at_once: usize) -> Self {
        Self { calls_at_once, ..self }
    }

    /// Sets how many requests a call may have.
    #[must_use]
    pub const fn with_largest_call(self, largest_call: usize) -> Self {
        Self { largest_call, ..self }
    }

    /// Sets the interval at which waiters poll.
    #[must_use]
    pub const fn with_poll_interval(self, poll_interval: Duration) -> Self {
        Self { poll_interval, ..self }
    }
}

/// The clock that decides whether a lease has expired (S3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum ExpiryJudge {
    /// The wall clock of the store's server. If it jumps, expiry moves.
    ServerWallClock,
    /// A monotonic clock of the store's server, or of the host whose processes share the store.
    ServerMonotonicClock,
    /// The wall clocks of the store's servers, of which any may answer. Their clocks are assumed to agree within twice this slack,
    /// by which every lease is longer for others than for its holder. If they differ by more, a name can have two holders.
    ServersWallClocks {
        /// How far each clock may be from the middle of all.
        slack: Duration,
    },
    /// The clocks of the contenders: each takes over only when it has itself observed the record unchanged for long enough (S2).
    /// No clock of the store is believed. Contenders disagree about the moment of the expiry, by as much as they began to observe
    /// at different moments; one that tries only once never takes over from a holder that has crashed.
    Contenders,
    /// The clock of this process, for a store inside the process.
    Process,
}

/// The events after which fencing tokens still rise (S9). With every store they rise after a release and after an expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TokensSurvive {
    /// The record of the lease is removed, by a purge or by hand.
    pub removal: bool,
    /// The store is restarted.
    pub restart: bool,
    /// A fail-over loses acknowledged writes, or an older backup is restored.
    pub data_loss: bool,
}

impl TokensSurvive {
    /// Creates the minimum: tokens rise after release and expiry only.
    #[must_use]
    pub const fn new() -> Self {
        Self { removal: false, restart: false, data_loss: false }
    }

    /// Adds the removal of the lease's record.
    #[must_use]
    pub const fn removal(self) -> Self {
        Self { removal: true, ..self }
    }

    /// Adds a restart of the store.
    #[must_use]
    pub const fn restart(self) -> Self {
        Self { restart: true, ..self }
    }

    /// Adds a fail-over that loses acknowledged writes, and the restoration of an older backup.
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
