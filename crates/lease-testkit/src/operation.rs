//! The operations of a store.

/// An operation of a [`LeaseStore`](lease_core::LeaseStore).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// [`LeaseStore::acquire`](lease_core::LeaseStore::acquire)
    Acquire,
    /// [`LeaseStore::renew`](lease_core::LeaseStore::renew)
    Renew,
    /// [`LeaseStore::release`](lease_core::LeaseStore::release)
    Release,
    /// [`LeaseStore::inspect`](lease_core::LeaseStore::inspect)
    Inspect,
    /// [`LeaseStore::list`](lease_core::LeaseStore::list)
    List,
    /// [`LeaseStore::break_lease`](lease_core::LeaseStore::break_lease)
    Break,
}

impl Operation {
    /// Returns the name of the operation, as errors show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acquire => "acquire",
            Self::Renew => "renew",
            Self::Release => "release",
            Self::Inspect => "inspect",
            Self::List => "list",
            Self::Break => "break",
        }
    }
}
