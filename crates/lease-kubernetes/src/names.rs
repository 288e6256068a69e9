//! Names of objects: those of leases, where Kubernetes has them.

use std::fmt::Write as _;

use lease_core::LeaseName;
use ring::digest::{SHA256, digest};

/// The most letters of a name of an object.
const MAX: usize = 253;
/// So many letters of a lease's name begin the name of an object that has a hash.
const HEAD: usize = 40;
/// The bytes of a hash.
const HASH: usize = 16;

/// How the objects of a store are named.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    /// Returns `None` if no object can have a name that begins with this prefix.
    pub(crate) fn new(prefix: String) -> Option<Self> {
        let is_short = prefix.len() <= MAX - HEAD - 1 - 2 * HASH;
        (is_short && is_subdomain(&format!("{prefix}0")) && label(&prefix).len() <= 63).then_some(Self { prefix })
    }

    /// Returns the name of the object of a lease: the prefix and the name, if that is a name in Kubernetes. Otherwise the name is
    /// replaced by what is left of it and 128 bits of its SHA-256.
    pub(crate) fn object(&self, name: &LeaseName) -> String {
        let plain = format!("{}{name}", self.prefix);
        if is_subdomain(&plain) && !has_hash(name.as_str()) {
            return plain;
        }
        let mut object = self.prefix.clone();
        for letter in name.as_str().chars().take(HEAD) {
            object.push(if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' });
        }
        // Each part of a name begins with a letter or a digit.
        if !object[self.prefix.len()..].starts_with(|first: char| first.is_ascii_alphanumeric()) {
            object.replace_range(self.prefix.len()..=self.prefix.len(), "x");
        }
        object.push('-');
        for byte in &digest(&SHA256, name.as_str().as_bytes()).as_ref()[..HASH] {
            let _ = write!(object, "{byte:02x}");
        }
        object
    }

    /// Returns the name of the lease of an object that does not say it: one that this library has not written.
    pub(crate) fn plain(&self, object: &str) -> Option<LeaseName> {
        let name = LeaseName::new(object.strip_prefix(&self.prefix)?).ok()?;
        (self.object(&name) == object).then_some(name)
    }

    /// Returns the value of the label that the objects of this store have. Two prefixes may share it.
    pub(crate) fn label(&self) -> &str {
        label(&self.prefix)
    }
}

/// The value of a label must end with a letter or a digit.
fn label(prefix: &str) -> &str {
    prefix.trim_end_matches(['-', '.'])
}

/// Whether Kubernetes accepts this as the name of a Lease (RFC 1123, subdomain).
fn is_subdomain(name: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    name.len() <= MAX
        && name.split('.').map(str::as_bytes).all(|part| {
            let is_inner = |byte: &u8| is_end(Some(byte)) || *byte == b'-';
            is_end(part.first()) && is_end(part.last()) && part.iter().all(is_inner)
        })
}

/// Whether a name ends as the name of an object with a hash does: it must not be taken for one.
fn has_hash(name: &str) -> bool {
    let end = name.len().checked_sub(2 * HASH + 1).and_then(|at| name.get(at..));
    end.is_some_and(|end| end.starts_with('-') && end[1..].bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn names(prefix: &str) -> Names {
        Names::new(prefix.to_owned()).unwrap()
    }

    fn lease(name: &str) -> LeaseName {
        LeaseName::new(name).unwrap()
    }

    #[test]
    fn a_plain_name_stays_and_others_get_a_hash() {
        let names = names("");
        for plain in ["job", "my-controller", "a.b-c.d", "0"] {
            assert_eq!(names.object(&lease(plain)), plain);
            assert_eq!(names.plain(plain), Some(lease(plain)));
        }
        let hashed = names.object(&lease("reports/nightly"));
        assert_eq!(hashed, "reports-nightly-9710b52c76fd9cb25fa7a31e2bc79e9f");
        assert_eq!(names.plain(&hashed), None, "it does not say whose it is");
        // A name that looks like one with a hash has a hash of its own.
        assert_ne!(names.object(&lease(&hashed)), hashed);
    }

    #[test]
    fn s21_no_two_names_share_an_object_and_kubernetes_has_them_all() {
        let longest = "x".repeat(LeaseName::MAX_BYTES);
        let all: Vec<_> = (0x21..=0x7E_u8).map(|byte| char::from(byte).to_string()).collect();
        let inner: Vec<_> = all.iter().map(|byte| format!("a{byte}b")).collect();
        let more =
            ["Job", "job", "JOB", "a..b", "a.-b", ".a", "a.", "-a", "//", &longest, &longest[1..]].map(str::to_owned);
        for prefix in ["", "app-", "app.", "a.b-"] {
            let names = names(prefix);
            let mut seen = HashSet::new();
            for name in all.iter().chain(&inner).chain(&more).collect::<HashSet<_>>() {
                let object = names.object(&lease(name));
                assert!(is_subdomain(&object), "{name} is {object}");
                assert!(object.starts_with(prefix));
                assert!(seen.insert(object.clone()), "{object} is twice");
            }
        }
    }

    #[test]
    fn a_prefix_is_one_that_names_can_begin_with() {
        for prefix in ["", "app-", "app.", "a.b-", "team-1.app"] {
            assert!(Names::new(prefix.to_owned()).is_some(), "{prefix}");
        }
        let long = "x".repeat(64);
        for prefix in ["-", ".", "App-", "a b", "a/", "a..", "a.-", "ä", &long] {
            assert!(Names::new(prefix.to_owned()).is_none(), "{prefix}");
        }
        assert_eq!([names("app-").label(), names("").label(), names("a.b").label()], ["app", "", "a.b"]);
    }
}
