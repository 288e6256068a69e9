//! Asking for a lease, and what a store answers.

use std::time::Duration;

use crate::{FencingToken, GrantId, HolderId, LeaseName, LeaseRecord, Metadata};

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
