//! What a backend says of itself.

use lease_core::Capabilities;

/// What a backend can do, and what it promises.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct About {
    /// The capabilities of the store.
    ///
    /// * [`expiry_judge`](Capabilities::expiry_judge) is `ServerWallClock` for a single server, `ServersWallClocks` where one of
    ///   many answers, `ServerMonotonicClock` for a clock that all processes share and that does not jump, `Process` for a store in
    ///   this process, and `Contenders` where no clock may be believed.
    /// * [`tokens_survive`](Capabilities::tokens_survive) may declare a removal if tokens come from versions, or if the store's
    ///   clock is so fine that no two grants of a name fall between two of its ticks.
    /// * [`push`](Capabilities::push) and [`push_to_holders`](Capabilities::push_to_holders) need
    ///   [`Documents::changes`](crate::Documents::changes).
    ///
    /// The store sets what depends on the record alone: it remembers the last grant, and a late renewal extends.
    pub capabilities: Capabilities,
    /// Whether the token of a grant is the [number](crate::Version::number) of its version. Numbers must rise over all documents
    /// and over deletions. Otherwise tokens are counted, and raised to the store's clock in µs where it has one (S10).
    pub tokens_from_versions: bool,
    /// How many requests of one call are in flight at once.
    pub concurrency: usize,
}

impl About {
    /// Describes a backend whose tokens are counted, with 16 requests in flight.
    #[must_use]
    pub const fn new(capabilities: Capabilities) -> Self {
        Self { capabilities, tokens_from_versions: false, concurrency: 16 }
    }

    /// Sets whether tokens are the numbers of versions.
    #[must_use]
    pub fn with_tokens_from_versions(self, tokens_from_versions: bool) -> Self {
        Self { tokens_from_versions, ..self }
    }

    /// Sets how many requests of one call are in flight at once. 0 counts as 1.
    #[must_use]
    pub fn with_concurrency(self, concurrency: usize) -> Self {
        Self { concurrency, ..self }
    }
}
