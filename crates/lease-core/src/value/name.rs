//! The name of a lease.

use std::{
    borrow::{Borrow, Cow},
    fmt,
    str::FromStr,
    sync::Arc,
};

/// The name of a lease: 1 to 255 bytes of printable ASCII without spaces.
///
/// A name is parsed once and is then acceptable to every store. It is byte-exact (S21): `Job` and `job` are two leases,
/// and no store folds, trims or shortens it. Cloning is cheap.
///
/// ```
/// use lease_core::LeaseName;
///
/// let name: LeaseName = "reports/nightly".parse()?;
/// assert_eq!(name.as_str(), "reports/nightly");
/// assert!("two words".parse::<LeaseName>().is_err());
/// # Ok::<(), lease_core::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "String", into = "String")
)]
pub struct LeaseName(Arc<str>);

impl LeaseName {
    /// The largest length of a name, in bytes.
    pub const MAX_BYTES: usize = 255;

    /// Parses a name.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] if it is empty, too long, or has a character that is not printable ASCII, or is a space.
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidName> {
        let name = name.as_ref();
        if name.is_empty() {
            return Err(InvalidName::Empty);
        }
        if name.len() > Self::MAX_BYTES {
            return Err(InvalidName::TooLong { bytes: name.len() });
        }
        match name.char_indices().find(|(_, character)| !character.is_ascii_graphic()) {
            Some((at, character)) => Err(InvalidName::Character { character, at }),
            None => Ok(Self(name.into())),
        }
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A [`LeaseName`], or text that is parsed as one. Methods that take a name accept any of these types. Sealed.
pub trait IntoLeaseName: sealed::Sealed {
    /// Returns the name.
    ///
    /// # Errors
    ///
    /// [`InvalidName`], as for [`LeaseName::new`].
    fn into_lease_name(self) -> Result<LeaseName, InvalidName>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! names {
    ($($type:ty => $name:ident $into:expr;)*) => {$(
        impl sealed::Sealed for $type {}

        impl IntoLeaseName for $type {
            fn into_lease_name(self) -> Result<LeaseName, InvalidName> {
                let $name = self;
                $into
            }
        }
    )*};
}

names! {
    LeaseName => name Ok(name);
    &LeaseName => name Ok(name.clone());
    &str => name LeaseName::new(name);
    String => name LeaseName::new(name);
    &String => name LeaseName::new(name);
    Cow<'_, str> => name LeaseName::new(name);
    Arc<str> => name LeaseName::new(name);
    fmt::Arguments<'_> => name match name.as_str() {
        Some(name) => LeaseName::new(name),
        None => LeaseName::new(name.to_string()),
    };
}

/// The error of a text that is not a valid [`LeaseName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// The text is empty.
    #[error("a lease name must not be empty")]
    Empty,
    /// The text is longer than [`LeaseName::MAX_BYTES`].
    #[error("a lease name has at most {max} bytes, and this one has {bytes}: shorten or hash it", max = LeaseName::MAX_BYTES)]
    TooLong {
        /// The length of the text.
        bytes: usize,
    },
    /// The text has a character that not every store accepts.
    #[error(
        "a lease name is printable ASCII without spaces, and this one has {character:?} at byte {at}: replace or encode it"
    )]
    Character {
        /// The first such character.
        character: char,
        /// Its position, in bytes.
        at: usize,
    },
}

impl FromStr for LeaseName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

impl TryFrom<&str> for LeaseName {
    type Error = InvalidName;

    fn try_from(name: &str) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

impl TryFrom<String> for LeaseName {
    type Error = InvalidName;

    fn try_from(name: String) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

impl TryFrom<&String> for LeaseName {
    type Error = InvalidName;

    fn try_from(name: &String) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

impl From<&LeaseName> for LeaseName {
    fn from(name: &LeaseName) -> Self {
        name.clone()
    }
}

impl From<LeaseName> for String {
    fn from(name: LeaseName) -> Self {
        name.as_str().to_owned()
    }
}

/// Names are compared as text.
impl Borrow<str> for LeaseName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for LeaseName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s21_accepts_every_printable_ascii_byte_up_to_the_largest_length() {
        let printable: String = ('!'..='~').collect();
        assert_eq!(LeaseName::new(&printable).unwrap().as_str(), printable);
        assert!(LeaseName::new("x".repeat(LeaseName::MAX_BYTES)).is_ok());
    }

    #[test]
    fn can_be_given_as_any_text() {
        let name = LeaseName::new("job-1").unwrap();
        assert_eq!(name.clone().into_lease_name().unwrap(), name);
        assert_eq!((&name).into_lease_name().unwrap(), name);
        assert_eq!("job-1".into_lease_name().unwrap(), name);
        assert_eq!(String::from("job-1").into_lease_name().unwrap(), name);
        assert_eq!((&String::from("job-1")).into_lease_name().unwrap(), name);
        assert_eq!(Cow::Borrowed("job-1").into_lease_name().unwrap(), name);
        assert_eq!(Arc::<str>::from("job-1").into_lease_name().unwrap(), name);
        assert_eq!(format_args!("job-{}", 1).into_lease_name().unwrap(), name);
        assert_eq!("".into_lease_name(), Err(InvalidName::Empty));
    }

    #[test]
    fn says_what_is_wrong_with_a_name() {
        assert_eq!(LeaseName::new(""), Err(InvalidName::Empty));
        assert_eq!(LeaseName::new("x".repeat(256)), Err(InvalidName::TooLong { bytes: 256 }));
        for (name, character, at) in [("a b", ' ', 1), ("job\n", '\n', 3), ("é", 'é', 0), ("a\0", '\0', 1)] {
            assert_eq!(LeaseName::new(name), Err(InvalidName::Character { character, at }), "{name:?}");
        }
    }

    #[test]
    fn is_checked_when_it_is_read_from_configuration() {
        assert_eq!(serde_json::from_str::<LeaseName>("\"job\"").unwrap().as_str(), "job");
        let error = serde_json::from_str::<LeaseName>("\"a job\"").unwrap_err().to_string();
        assert!(error.contains("without spaces"), "{error}");
    }
}
