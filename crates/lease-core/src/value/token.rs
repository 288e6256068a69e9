//! Fencing tokens and grant ids.

use std::{fmt, num::NonZeroU64};

use crate::random;

/// A number that grows with every grant of a name, whichever holder gets it (S9).
///
/// Send it with every write that the lease protects, and let the resource reject a token that is smaller than one it has
/// already seen. Only this protects against a holder that was paused and resumes after its lease expired. Tokens of different
/// names are not comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct FencingToken(NonZeroU64);

impl FencingToken {
    /// Creates a token from its number. Returns `None` for zero, which is never granted.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Returns the number of the token, at least 1.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The nonce of one attempt to acquire a lease, chosen by the caller (S13).
///
/// Requests with the same nonce are the same attempt. When one is repeated after an unknown outcome, the store answers with
/// the grant that it already made, or with nothing if that grant has ended. Only providers and their tests use this type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId(u128);

impl GrantId {
    /// Creates a unique nonce.
    ///
    /// # Panics
    ///
    /// Panics if the system provides no random numbers.
    #[must_use]
    pub fn random() -> Self {
        Self(u128::from_ne_bytes(random::bytes()))
    }

    /// Creates a nonce from its bits.
    #[must_use]
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// Returns the bits of the nonce.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
