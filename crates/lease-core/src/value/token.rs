//! Fencing tokens and grant ids.

use std::{fmt, num::NonZeroU64};

use crate::random;

/// A number that is greater for every new grant of a name, whoever gets it (S9).
///
/// Send it along with every write that the lease protects, and let the resource refuse a token that is smaller than
/// one it has already seen. That is the only protection against a holder that was paused and wakes up too late.
/// Tokens of different names cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct FencingToken(NonZeroU64);

impl FencingToken {
    /// The token with this number, or nothing for zero, which is never granted.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The token's number, at least 1.
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

/// The nonce of one attempt to get a lease, chosen by the caller (S13).
///
/// The same nonce stands for the same attempt: repeated after an unknown outcome it meets its own grant, and once that
/// grant has ended it grants nothing more. Only providers and their tests handle it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId(u128);

impl GrantId {
    /// A nonce that no other attempt has.
    ///
    /// # Panics
    ///
    /// When the system gives no random numbers.
    #[must_use]
    pub fn random() -> Self {
        Self(u128::from_ne_bytes(random::bytes()))
    }

    /// The nonce with these bits.
    #[must_use]
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits of the nonce.
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
