//! Metadata of a lease.

use std::collections::{BTreeMap, btree_map::Entry};

use super::Correlation;

/// A small map of text that is stored with a lease: a leader's address, a version.
///
/// All keys and values together have at most [`Metadata::MAX_BYTES`], and no control characters. A
/// [correlation id](Correlation::METADATA_KEY) does not count. Everyone who can inspect the lease can read the metadata, so it must
/// not contain secrets.
///
/// ```
/// use lease_core::Metadata;
///
/// let metadata = Metadata::new([("address", "10.0.0.7:443"), ("version", "2.1.0")])?;
/// assert_eq!(metadata.get("version"), Some("2.1.0"));
/// # Ok::<(), lease_core::InvalidMetadata>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")
)]
pub struct Metadata(BTreeMap<String, String>);

impl Metadata {
    /// The largest size of all keys and values together, in bytes.
    pub const MAX_BYTES: usize = 4096;

    /// Creates metadata without entries.
    #[must_use]
    pub const fn empty() -> Self {
        Self(BTreeMap::new())
    }

    /// Creates metadata from entries. Of equal keys, the last one is kept.
    ///
    /// # Errors
    ///
    /// [`InvalidMetadata`] if the entries are too large or have control characters.
    pub fn new<K: Into<String>, V: Into<String>>(
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, InvalidMetadata> {
        let entries: BTreeMap<String, String> =
            entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        let counted = entries.iter().filter(|(key, value)| !is_correlation(key, value));
        let bytes = counted.map(|(key, value)| key.len() + value.len()).sum();
        if bytes > Self::MAX_BYTES {
            return Err(InvalidMetadata::TooLarge { bytes });
        }
        match entries.iter().find(|(key, value)| key.chars().chain(value.chars()).any(char::is_control)) {
            Some((key, _)) => Err(InvalidMetadata::ControlCharacter { key: key.clone() }),
            None => Ok(Self(entries)),
        }
    }

    /// Adds a correlation id, unless there is an entry of its key.
    #[must_use]
    pub(crate) fn with_correlation(mut self, correlation: Option<&Correlation>) -> Self {
        if let Some(correlation) = correlation {
            match self.0.entry(Correlation::METADATA_KEY.to_owned()) {
                Entry::Vacant(entry) => {
                    entry.insert(correlation.as_str().to_owned());
                }
                Entry::Occupied(entry) => {
                    tracing::debug!(target: "lease", kept = entry.get(), %correlation, "the metadata has a correlation id of its own");
                }
            }
        }
        self
    }

    /// Returns the value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Returns all entries, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Returns whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_correlation(key: &str, value: &str) -> bool {
    key == Correlation::METADATA_KEY && value.len() <= Correlation::MAX_BYTES
}

/// The error of entries that are not valid [`Metadata`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMetadata {
    /// The entries are larger than [`Metadata::MAX_BYTES`].
    #[error(
        "metadata has at most {max} bytes in all keys and values, and this has {bytes}: store a reference to the data instead",
        max = Metadata::MAX_BYTES
    )]
    TooLarge {
        /// The size of all keys and values.
        bytes: usize,
    },
    /// An entry has a control character, which not every store accepts.
    #[error("metadata must not have control characters, and the entry {key:?} has one: encode it")]
    ControlCharacter {
        /// The key of the first such entry.
        key: String,
    },
}

impl TryFrom<BTreeMap<String, String>> for Metadata {
    type Error = InvalidMetadata;

    fn try_from(entries: BTreeMap<String, String>) -> Result<Self, InvalidMetadata> {
        Self::new(entries)
    }
}

impl From<Metadata> for BTreeMap<String, String> {
    fn from(metadata: Metadata) -> Self {
        metadata.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_fits_and_refuses_the_rest() {
        assert!(Metadata::new([("k", "v".repeat(Metadata::MAX_BYTES - 1))]).is_ok());
        let error = Metadata::new([("k", "v".repeat(Metadata::MAX_BYTES))]).unwrap_err();
        assert_eq!(error, InvalidMetadata::TooLarge { bytes: Metadata::MAX_BYTES + 1 });
    }

    #[test]
    fn a_correlation_id_fits_besides_the_largest_metadata() {
        let largest = Metadata::new([("k", "v".repeat(Metadata::MAX_BYTES - 1))]).unwrap();
        let id = Correlation::new("x".repeat(Correlation::MAX_BYTES)).unwrap();
        let both = largest.with_correlation(Some(&id));
        assert_eq!(both.get("correlation"), Some(id.as_str()));
        let text = serde_json::to_string(&both).unwrap();
        assert_eq!(serde_json::from_str::<Metadata>(&text).unwrap(), both);
        let own = Metadata::new([("correlation", "own")]).unwrap();
        assert_eq!(own.with_correlation(Some(&id)).get("correlation"), Some("own"));
    }

    #[test]
    fn refuses_control_characters_in_keys_and_values() {
        for entry in [("a\nb", "v"), ("k", "nul\0")] {
            let key = entry.0.to_owned();
            assert_eq!(Metadata::new([entry]), Err(InvalidMetadata::ControlCharacter { key }));
        }
    }

    #[test]
    fn is_checked_when_it_is_read_from_configuration() {
        assert!(serde_json::from_str::<Metadata>(r#"{"zone":"a"}"#).is_ok());
        assert!(serde_json::from_str::<Metadata>(r#"{"zone":"a\n"}"#).is_err());
    }
}
