//! The keys of objects.

use lease_core::{ErrorKind, LeaseName, Result};
use lease_document::{escape, escape_prefix, unescape};
use object_store::path::Path;

use crate::error::connect_error;

/// The object with which conditional writes are tried out. No name has this key: names have no dot in theirs.
const PROBE: &str = ".conditional-write-probe";

/// The longest prefix in bytes: the longest name takes 765 bytes, and no service has keys of more than 1 024.
const LONGEST_PREFIX: usize = 250;

/// The keys below a prefix: `prefix/` and the escaped name.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    /// Without a slash at its ends.
    prefix: String,
}

impl Keys {
    /// Checks a prefix. It may contain slashes.
    pub(crate) fn new(prefix: &str, store: &'static str) -> Result<Self> {
        let invalid = |message: &'static str| connect_error(ErrorKind::Invalid, store, message);
        let prefix = prefix.trim_matches('/');
        if prefix.is_empty() {
            return Err(invalid("the prefix must not be empty: leases are kept apart from other objects"));
        }
        if prefix.len() > LONGEST_PREFIX {
            return Err(invalid("the prefix must have at most 250 bytes"));
        }
        if !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
            || prefix.split('/').any(|part| part.trim_matches('.').is_empty())
        {
            return Err(invalid("the prefix may contain letters, digits, `-`, `_`, `.`, and slashes between parts"));
        }
        Ok(Self { prefix: prefix.to_owned() })
    }

    /// Returns the key of a name.
    pub(crate) fn key(&self, name: &LeaseName) -> String {
        format!("{}/{}", self.prefix, escape(name))
    }

    /// Returns what the keys of all names with this prefix begin with.
    pub(crate) fn keys_with(&self, prefix: &str) -> String {
        format!("{}/{}", self.prefix, escape_prefix(prefix))
    }

    /// Returns the folder of all keys.
    pub(crate) fn folder(&self) -> Path {
        path(&self.prefix)
    }

    pub(crate) fn location(&self, name: &LeaseName) -> Path {
        path(&self.key(name))
    }

    pub(crate) fn probe(&self) -> Path {
        path(&format!("{}/{PROBE}", self.prefix))
    }

    /// Returns the name of a key, or `None` if it is the key of no name.
    pub(crate) fn name(&self, key: &str) -> Option<LeaseName> {
        unescape(key.strip_prefix(&self.prefix)?.strip_prefix('/')?)
    }
}

/// Takes the key as it is. The driver would encode some marks of an escaped name, and keys would lose the order of their names.
fn path(key: &str) -> Path {
    Path::parse(key).expect("a key has no empty part, no part of dots alone, and no control character")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> LeaseName {
        LeaseName::new(text).unwrap()
    }

    #[test]
    fn a_prefix_is_a_folder_of_its_own() {
        assert_eq!(Keys::new("/a/b.c/", "s3").unwrap().key(&name("job/1")), "a/b.c/job!2F1");
        let long = "a".repeat(251);
        for bad in ["", "/", "a//b", "a/../b", ".", "a b", "a\\b", "ä", "a?b", long.as_str()] {
            assert_eq!(Keys::new(bad, "s3").unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
    }

    #[test]
    fn s21_every_name_has_a_key_of_its_own() {
        let keys = Keys::new("leases", "s3").unwrap();
        let all: String = ('!'..='~').collect();
        for text in [all.as_str(), "..", ".", "%2F", "a/../b", "\\", "~", &"~".repeat(255)] {
            let name = name(text);
            assert_eq!(keys.location(&name).as_ref(), keys.key(&name));
            assert_eq!(keys.name(&keys.key(&name)), Some(name.clone()));
            assert!(keys.key(&name).starts_with(&keys.keys_with("")));
        }
        for foreign in ["leases", "leases/", "leases/a/b", "leases/a.b", "other/a", "leasesx/a", keys.probe().as_ref()]
        {
            assert_eq!(keys.name(foreign), None, "{foreign}");
        }
    }
}
