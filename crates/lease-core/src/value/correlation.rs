//! The id by which everything that belongs to one request is found.

use std::{fmt, str::FromStr, sync::Arc};

use crate::random;

/// A correlation id: 1 to 128 bytes of text without control characters, such as the id of the request for which a lease is acquired.
///
/// Set by [`LeaseOptions::correlation`](crate::LeaseOptions::correlation). It is in every span and event of the lease, as
/// `correlation.id`, and in the lease's metadata under the key [`Correlation::METADATA_KEY`], so that a caller that is blocked
/// sees for which request the holder works. It must not be a secret. Cloning is cheap.
///
/// ```
/// use lease_core::{Correlation, LeaseOptions};
/// # use std::time::Duration;
///
/// let request_id = Correlation::new("req-7f3a")?;
/// let options = LeaseOptions::new(Duration::from_secs(30)).with_correlation(request_id);
/// # Ok::<(), lease_core::InvalidCorrelation>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "String", into = "String")
)]
pub struct Correlation(Arc<str>);

impl Correlation {
    /// The largest length of a correlation id, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// The key of the correlation id in the metadata of a lease.
    pub const METADATA_KEY: &str = "correlation";

    /// Parses a correlation id.
    ///
    /// # Errors
    ///
    /// [`InvalidCorrelation`] if it is empty, too long, or has control characters.
    pub fn new(id: impl AsRef<str>) -> Result<Self, InvalidCorrelation> {
        let id = id.as_ref();
        if id.is_empty() {
            return Err(InvalidCorrelation::Empty);
        }
        if id.len() > Self::MAX_BYTES {
            return Err(InvalidCorrelation::TooLong { bytes: id.len() });
        }
        match id.chars().find(|character| character.is_control()) {
            Some(character) => Err(InvalidCorrelation::ControlCharacter { character }),
            None => Ok(Self(id.into())),
        }
    }

    /// Creates a unique correlation id of 32 hexadecimal digits.
    ///
    /// # Panics
    ///
    /// Panics if the system provides no random numbers.
    #[must_use]
    pub fn random() -> Self {
        Self(format!("{:032x}", u128::from_ne_bytes(random::bytes())).into())
    }

    /// Returns the correlation id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The error of a text that is not a valid [`Correlation`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCorrelation {
    /// The text is empty.
    #[error("a correlation id must not be empty: leave it out, or use Correlation::random()")]
    Empty,
    /// The text is longer than [`Correlation::MAX_BYTES`].
    #[error("a correlation id has at most {max} bytes, and this one has {bytes}: shorten it", max = Correlation::MAX_BYTES)]
    TooLong {
        /// The length of the text.
        bytes: usize,
    },
    /// The text has a control character.
    #[error("a correlation id must not have control characters, and this one has {character:?}: remove or encode it")]
    ControlCharacter {
        /// The first such character.
        character: char,
    },
}

impl FromStr for Correlation {
    type Err = InvalidCorrelation;

    fn from_str(id: &str) -> Result<Self, InvalidCorrelation> {
        Self::new(id)
    }
}

impl TryFrom<String> for Correlation {
    type Error = InvalidCorrelation;

    fn try_from(id: String) -> Result<Self, InvalidCorrelation> {
        Self::new(id)
    }
}

impl From<Correlation> for String {
    fn from(id: Correlation) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for Correlation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Correlation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_with_an_id() {
        assert_eq!(Correlation::new(""), Err(InvalidCorrelation::Empty));
        assert_eq!(Correlation::new("x".repeat(129)), Err(InvalidCorrelation::TooLong { bytes: 129 }));
        assert_eq!(Correlation::new("a\nb"), Err(InvalidCorrelation::ControlCharacter { character: '\n' }));
        assert!(Correlation::new("x".repeat(128)).is_ok());
    }

    #[test]
    fn random_ids_are_valid_and_differ() {
        let (one, two) = (Correlation::random(), Correlation::random());
        assert_ne!(one, two);
        assert_eq!(one.as_str().len(), 32);
        assert_eq!(Correlation::new(one.as_str()), Ok(one));
    }
}
