//! The id of a holder.

use std::{env, fmt, process, str::FromStr, sync::Arc};

use crate::random;

/// The id of a holder of leases: 1 to 255 bytes of text without control characters. Everyone who can read the store sees it.
///
/// By default every client uses [`HolderId::random`], so that two replicas never share an id by accident. Ownership does not
/// depend on the id alone: a grant is owned by its holder *and* its nonce (S14). Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "String", into = "String")
)]
pub struct HolderId(Arc<str>);

impl HolderId {
    /// The largest length of a holder id, in bytes.
    pub const MAX_BYTES: usize = 255;

    /// Parses a holder id, for example the name of a pod.
    ///
    /// # Errors
    ///
    /// [`InvalidHolderId`] if it is empty, too long, or has control characters.
    pub fn new(id: impl AsRef<str>) -> Result<Self, InvalidHolderId> {
        let id = id.as_ref();
        if id.is_empty() {
            return Err(InvalidHolderId::Empty);
        }
        if id.len() > Self::MAX_BYTES {
            return Err(InvalidHolderId::TooLong { bytes: id.len() });
        }
        match id.chars().find(|character| character.is_control()) {
            Some(character) => Err(InvalidHolderId::ControlCharacter { character }),
            None => Ok(Self(id.into())),
        }
    }

    /// Creates a unique holder id of the form `host-pid-random`.
    ///
    /// # Panics
    ///
    /// Panics if the system provides no random numbers.
    #[must_use]
    pub fn random() -> Self {
        let host: String = host_name().chars().filter(|character| !character.is_control()).take(50).collect();
        Self(format!("{host}-{}-{:016x}", process::id(), u64::from_ne_bytes(random::bytes())).into())
    }

    /// Reads a holder id from an environment variable, for example `POD_NAME`.
    ///
    /// # Errors
    ///
    /// [`InvalidHolderId`] if the variable is not set, is not Unicode, or is not a valid holder id.
    pub fn from_env(variable: &str) -> Result<Self, InvalidHolderId> {
        Self::new(env::var(variable).map_err(|_| InvalidHolderId::Environment { variable: variable.to_owned() })?)
    }

    /// Creates a holder id from a store's record, for providers. It is not checked, because other software may have written it.
    #[must_use]
    pub fn from_store(id: &str) -> Self {
        Self(id.into())
    }

    /// Returns the holder id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(unix)]
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host_name() -> String {
    env::var("COMPUTERNAME").unwrap_or_else(|_| "host".to_owned())
}

/// The error of a text that is not a valid [`HolderId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHolderId {
    /// The text is empty.
    #[error("a holder id must not be empty: use HolderId::random() for a unique one")]
    Empty,
    /// The text is longer than [`HolderId::MAX_BYTES`].
    #[error("a holder id has at most {max} bytes, and this one has {bytes}: shorten it", max = HolderId::MAX_BYTES)]
    TooLong {
        /// The length of the text.
        bytes: usize,
    },
    /// The text has a control character.
    #[error("a holder id must not have control characters, and this one has {character:?}: remove or encode it")]
    ControlCharacter {
        /// The first such character.
        character: char,
    },
    /// The environment variable is not set, or is not Unicode.
    #[error("the environment variable {variable} is not set to a Unicode text: set it, or use HolderId::random()")]
    Environment {
        /// The name of the variable.
        variable: String,
    },
}

impl FromStr for HolderId {
    type Err = InvalidHolderId;

    fn from_str(id: &str) -> Result<Self, InvalidHolderId> {
        Self::new(id)
    }
}

impl TryFrom<String> for HolderId {
    type Error = InvalidHolderId;

    fn try_from(id: String) -> Result<Self, InvalidHolderId> {
        Self::new(id)
    }
}

impl From<HolderId> for String {
    fn from(id: HolderId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_its_own() {
        let (one, two) = (HolderId::random(), HolderId::random());
        assert_ne!(one, two);
        assert!(one.as_str().contains(&format!("-{}-", process::id())), "{one}");
        assert_eq!(HolderId::new(one.as_str()), Ok(one));
    }

    #[test]
    fn says_what_is_wrong_with_a_holder_id() {
        assert_eq!(HolderId::new(""), Err(InvalidHolderId::Empty));
        assert_eq!(HolderId::new("x".repeat(256)), Err(InvalidHolderId::TooLong { bytes: 256 }));
        assert_eq!(HolderId::new("a\tb"), Err(InvalidHolderId::ControlCharacter { character: '\t' }));
        let error = HolderId::from_env("LEASE_CORE_NO_SUCH_VARIABLE").unwrap_err().to_string();
        assert!(error.contains("LEASE_CORE_NO_SUCH_VARIABLE"), "{error}");
    }

    #[test]
    fn comes_from_the_environment() {
        let id = HolderId::from_env("CARGO_PKG_NAME").unwrap();
        assert_eq!(id.as_str(), "lease-core");
    }
}
