//! The keys of documents.

use lease_core::{ErrorKind, LeaseName, Result};
use lease_document::{escape, escape_prefix, unescape};

use crate::error::store_error;

/// The keys below one prefix.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    /// Checks a prefix. It is a part of the path of a URL, in which servers and proxies change empty segments and dots.
    pub(crate) fn new(prefix: &str) -> Result<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        let mut segments = prefix.strip_suffix('/').unwrap_or(prefix).split('/');
        if prefix.bytes().all(is_plain) && segments.all(|segment| !matches!(segment, "" | "." | "..")) {
            return Ok(Self { prefix: prefix.to_owned() });
        }
        let message = "the key prefix must be of letters, digits and -._~/, without a slash at its beginning, an empty segment, or \
                       a segment of dots: write it as app/leases/";
        Err(store_error(ErrorKind::Invalid, "connect", message))
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn key(&self, name: &LeaseName) -> String {
        format!("{}{}", self.prefix, escape(name))
    }

    /// Returns what the keys of all names with this prefix begin with.
    pub(crate) fn begin_with(&self, prefix: &str) -> String {
        format!("{}{}", self.prefix, escape_prefix(prefix))
    }

    /// Returns the name of a key, or `None` for a key of other software.
    pub(crate) fn name(&self, key: &str) -> Option<LeaseName> {
        unescape(key.strip_prefix(&self.prefix)?)
    }

    /// Returns a key below the prefix that is the key of no name.
    pub(crate) fn probe(&self) -> String {
        format!("{}-", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_part_of_a_path() {
        for good in ["app-runtime-leases/", "leases", "a/b.c/d_~"] {
            let keys = Keys::new(good).unwrap();
            let name = LeaseName::new("../a b?#%".replace(' ', "_")).unwrap();
            assert_eq!(keys.name(&keys.key(&name)), Some(name));
            assert_eq!(keys.name(&keys.probe()), None);
        }
        for bad in ["", "/", "/a/", "a//b/", "a//", "../a/", "a/./b", "a/..", "a b/", "a%2Fb", "a?b", "ä/"] {
            assert_eq!(Keys::new(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
    }
}
