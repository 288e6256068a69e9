//! The request for a lease, and its outcome.

use std::time::Duration;

use crate::{FencingToken, GrantId, HolderId, LeaseName, LeaseRecord, Metadata};

/// A request for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcquireRequest {
    /// The name of the lease.
    pub name: LeaseName,
    /// The holder that requests it.
    pub holder: HolderId,
    /// The nonce of this attempt (S13).
    pub grant: GrantId,
    /// How long the lease lasts without a renewal. Within the store's limits.
    pub ttl: Duration,
    /// Metadata of the lease, stored as revision 0.
    pub metadata: Metadata,
    /// Whether subscribers of the name get a hint if it is granted.
    pub announce: bool,
}

impl AcquireRequest {
    /// Creates a request without metadata and without announcement.
    #[must_use]
    pub const fn new(name: LeaseName, holder: HolderId, grant: GrantId, ttl: Duration) -> Self {
        Self { name, holder, grant, ttl, metadata: Metadata::empty(), announce: false }
    }

    /// Sets the name.
    #[must_use]
    pub fn with_name(self, name: LeaseName) -> Self {
        Self { name, ..self }
    }

    /// Sets the holder.
    #[must_use]
    pub fn with_holder(self, holder: HolderId) -> Self {
        Self { holder, ..self }
    }

    /// Sets the nonce.
    #[must_use]
    pub fn with_grant(self, grant: GrantId) -> Self {
        Self { grant, ..self }
    }

    /// Sets the ttl.
    #[must_use]
    pub fn with_ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// Sets the metadata.
    #[must_use]
    pub fn with_metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// Sets whether subscribers of the name get a hint.
    #[must_use]
    pub fn with_announce(self, announce: bool) -> Self {
        Self { announce, ..self }
    }

    /// Returns the claim to the grant with this handle that answers the request.
    #[must_use]
    pub fn claim(&self, handle: u64) -> Claim {
        Claim::new(self.name.clone(), self.holder.clone(), self.grant).with_handle(handle)
    }
}

/// The outcome of an [`AcquireRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acquired {
    /// The lease was granted.
    Granted(Grant),
    /// Another grant is in force, or the name is blocked.
    Held {
        /// The lease that is in force, where the store reports it.
        by: Option<LeaseRecord>,
        /// After which time the name may be free, where the store reports it.
        retry_after: Option<Duration>,
    },
    /// A grant with this nonce was made before and has ended. Nothing was granted (S13).
    Spent,
}

/// One tenure of a lease, as the store granted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// The fencing token, greater than that of every earlier grant of the name (S9).
    pub token: FencingToken,
    /// The least time that remains of the grant, counted from when the store call began (S1).
    pub remaining: Duration,
    /// A value of the store's own, which comes back in every [`Claim`].
    pub handle: u64,
}

impl Grant {
    /// Creates a grant with handle 0.
    #[must_use]
    pub const fn new(token: FencingToken, remaining: Duration) -> Self {
        Self { token, remaining, handle: 0 }
    }

    /// Sets the store's own value.
    #[must_use]
    pub const fn with_handle(self, handle: u64) -> Self {
        Self { handle, ..self }
    }
}

/// Identifies a grant, and proves its ownership.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claim {
    /// The name of the lease.
    pub name: LeaseName,
    /// The holder.
    pub holder: HolderId,
    /// The nonce with which the lease was acquired.
    pub grant: GrantId,
    /// The [`Grant::handle`]; zero if the store's answer never arrived (S11).
    pub handle: u64,
}

impl Claim {
    /// Creates a claim with handle 0.
    #[must_use]
    pub const fn new(name: LeaseName, holder: HolderId, grant: GrantId) -> Self {
        Self { name, holder, grant, handle: 0 }
    }

    /// Sets the name.
    #[must_use]
    pub fn with_name(self, name: LeaseName) -> Self {
        Self { name, ..self }
    }

    /// Sets the holder.
    #[must_use]
    pub fn with_holder(self, holder: HolderId) -> Self {
        Self { holder, ..self }
    }

    /// Sets the nonce.
    #[must_use]
    pub fn with_grant(self, grant: GrantId) -> Self {
        Self { grant, ..self }
    }

    /// Sets the handle.
    #[must_use]
    pub fn with_handle(self, handle: u64) -> Self {
        Self { handle, ..self }
    }
}
