//! Who holds a lease.

use std::{env, fmt, process, str::FromStr, sync::Arc};

use crate::random;

/// Who holds a lease: 1 to 255 bytes of text without control characters, readable by anybody who inspects it.
///
/// By default every client makes its own, from the host's name, the process id and a random part
/// ([`HolderId::random`]), so that two replicas never share one by accident. Ownership does not rest on it: a grant is
/// owned by its holder *and* its nonce (S14). Cloning is cheap.
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

    /// A holder id of the application's own, for example the name of a pod.
    ///
    /// # Errors
    ///
    /// [`InvalidHolderId`] when it is empty, too long, or has control characters.
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

    /// A holder id that no other client has: `host-pid-random`.
    ///
    /// # Panics
    ///
    /// When the system gives no random numbers.
    #[must_use]
    pub fn random() -> Self {
        let host: String = host_name().chars().filter(|character| !character.is_control()).take(50).collect();
        Self(format!("{host}-{}-{:016x}", process::id(), u64::from_ne_bytes(random::bytes())).into())
    }

    /// The holder id that an environment variable gives, for example `POD_NAME`.
    ///
    /// # Errors
    ///
    /// [`InvalidHolderId`] when the variable is not set, is no Unicode, or is no holder id.
    pub fn from_env(variable: &str) -> Result<Self, InvalidHolderId> {
        Self::new(env::var(variable).map_err(|_| InvalidHolderId::Environment { variable: variable.to_owned() })?)
    }

    /// A holder id as a store has it. Other software may have written it, so it is not checked: for providers.
    #[must_use]
    pub fn from_store(id: &str) -> Self {
        Self(id.into())
    }

    /// The holder id as text.
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

/// Why a text is no [`HolderId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHolderId {
    /// There is nothing in it.
    #[error("a holder id must not be empty")]
    Empty,
    /// It is longer than [`HolderId::MAX_BYTES`].
    #[error("a holder id has at most {max} bytes, this one has {bytes}", max = HolderId::MAX_BYTES)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It cannot be shown to a person.
    #[error("a holder id must not have control characters, this one has {character:?}")]
    ControlCharacter {
        /// The first such character.
        character: char,
    },
    /// The environment does not give one.
    #[error("the environment variable {variable} is not set to a text: set it, or use HolderId::random()")]
    Environment {
        /// The variable that was asked for.
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
