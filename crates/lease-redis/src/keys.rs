//! Keys and channels. A key is the prefix and the name, byte for byte (S21); nothing depends on hash tags.

use fred::util::redis_keyslot;
use lease_core::LeaseName;

/// How names become keys.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The key of a name, and at the same time the channel of its hints.
    pub(crate) fn key(&self, name: &LeaseName) -> String {
        [&self.prefix, name.as_str()].concat()
    }

    /// The key of the index. No name is like that.
    pub(crate) fn index(&self) -> String {
        [&self.prefix, " index"].concat()
    }

    /// The name that a key or a channel stands for, if it is one of ours.
    pub(crate) fn name(&self, key: &str) -> Option<LeaseName> {
        LeaseName::new(key.strip_prefix(&self.prefix)?).ok()
    }

    /// A key with the prefix whose slot is such a one; nothing where there is none, as all keys lie elsewhere.
    pub(crate) fn one_where(&self, is_it: impl Fn(u16) -> bool) -> Option<String> {
        // Enough to meet each of the 16384 slots. With a hash tag in the prefix there is only one.
        (0..250_000).map(|n| format!("{}{{{n}}}", self.prefix)).find(|key| is_it(slot(key)))
    }

    /// What `SCAN` matches the keys of names with, where these begin so.
    pub(crate) fn pattern(&self, name_prefix: &str) -> String {
        let mut pattern = String::new();
        for character in self.prefix.chars().chain(name_prefix.chars()) {
            if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern.push('*');
        pattern
    }
}

/// Where Cluster keeps a key. A name with braces, or a prefix, may have a hash tag; it makes no difference but this.
pub(crate) fn slot(key: &str) -> u16 {
    redis_keyslot(key.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s21_keys_are_byte_exact_and_lead_back() {
        let keys = Keys::new("leases:");
        for name in ["job", "Job", "a*b", "{x}y", "}x{", "x\\"] {
            let name = LeaseName::new(name).unwrap();
            assert_eq!(keys.key(&name), format!("leases:{name}"));
            assert_eq!(keys.name(&keys.key(&name)), Some(name));
        }
        assert_eq!(keys.name("other:job"), None);
        assert_eq!(keys.name("leases:"), None);
        assert_eq!(keys.name("leases:two words"), None);
    }

    #[test]
    fn s21_a_prefix_is_no_pattern() {
        assert_eq!(Keys::new("l[x]:").pattern("a*b?\\"), "l\\[x\\]:a\\*b\\?\\\\*");
    }
}
