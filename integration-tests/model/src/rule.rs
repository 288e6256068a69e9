//! The rules that can be left out of the protocol.

/// A rule of SAFETY.md, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// S1: a deadline counts from when the request was sent, not from when its answer came.
    DeadlineCountsFromTheRequest,
    /// S1: a deadline allows for the error of the clock's rate.
    DeadlineAllowsForDrift,
    /// S4: after the deadline, no answer brings a lease back.
    DeadlineIsFinal,
    /// S7: only the owner of a grant renews it.
    OnlyTheOwnerRenews,
    /// S7: a renewal never revives a grant that has expired.
    NoRenewalRevives,
    /// S8: a renewal with an unknown result keeps the old deadline.
    UnknownRenewalKeepsTheDeadline,
    /// S9: the last token survives the end of the grant.
    TokenSurvivesTheGrant,
    /// S11: only the owner of a grant releases it.
    OnlyTheOwnerReleases,
    /// S12: a guard is latched lost before the release is sent to the store.
    LatchBeforeRelease,
    /// S13: a nonce is spent when its grant has ended.
    NoncesAreSpent,
    /// The resource refuses tokens below the greatest that it has seen.
    ResourceChecksTokens,
}
