//! The version of an object, as the driver compares it and as the lease store keeps it.

use lease_document::Version;
use object_store::UpdateVersion;

/// Separates both parts: no header contains it.
const SEPARATOR: char = '\n';

/// What the service compares in a conditional write. Nothing else may be a part of a version: a read and a write of one object may
/// differ in it, as in a bucket whose versioning is suspended, and would look like two writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compared {
    /// The `ETag`: Amazon, Azure.
    ETag,
    /// A version beside it: the generation of Google.
    Version,
}

impl Compared {
    /// Returns the version of an object, or `None` if the service did not say what it compares.
    pub(crate) fn version(self, e_tag: Option<String>, version: Option<String>) -> Option<Version> {
        let e_tag = e_tag?;
        match self {
            Self::ETag => Some(Version::new(e_tag)),
            Self::Version => Some(Version::new(format!("{e_tag}{SEPARATOR}{}", version?))),
        }
    }

    /// Returns the version as the driver compares it.
    pub(crate) fn update(self, version: &Version) -> UpdateVersion {
        let (e_tag, version) = match version.tag.split_once(SEPARATOR) {
            Some((e_tag, version)) => (e_tag, Some(version.to_owned())),
            None => (version.tag.as_str(), None),
        };
        UpdateVersion { e_tag: Some(e_tag.to_owned()), version }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_what_is_compared_and_nothing_else() {
        let [e_tag, version] = ["\"5d41\"", "1795968834000000"].map(|text| Some(text.to_owned()));
        let both = Compared::Version.version(e_tag.clone(), version.clone()).unwrap();
        assert_eq!(Compared::Version.update(&both), UpdateVersion { e_tag: e_tag.clone(), version: version.clone() });
        let one = Compared::ETag.version(e_tag.clone(), version).unwrap();
        assert_eq!(Some(one.clone()), Compared::ETag.version(e_tag.clone(), None));
        assert_eq!(Compared::ETag.update(&one), UpdateVersion { e_tag: e_tag.clone(), version: None });
        assert_eq!((Compared::ETag.version(None, None), Compared::Version.version(e_tag, None)), (None, None));
    }
}
