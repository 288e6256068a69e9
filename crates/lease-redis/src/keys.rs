//! Keys and channels: the prefix followed by the name, byte for byte (S21). Nothing depends on hash tags.

use fred::util::redis_keyslot;
use lease_core::LeaseName;

/// Maps names to keys, and back.
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

    /// Returns the key of a name, which is the channel of its hints as well.
    pub(crate) fn key(&self, name: &LeaseName) -> String {
        [&self.prefix, name.as_str()].concat()
    }

    /// Returns the key of the index. No lease has this key, because a name contains no space.
    pub(crate) fn index(&self) -> String {
        [&self.prefix, " index"].concat()
    }

    /// Returns the name of a key or a channel, if it belongs to this store.
    pub(crate) fn name(&self, key: &str) -> Option<LeaseName> {
        LeaseName::new(key.strip_prefix(&self.prefix)?).ok()
    }

    /// Returns a key with the prefix whose slot fulfils a condition, if there is one.
    pub(crate) fn find_with_slot(&self, is_wanted: impl Fn(u16) -> bool) -> Option<String> {
        // Enough to reach each of the 16384 slots. With a hash tag in the prefix, all keys have the same slot.
        (0..250_000).map(|n| format!("{}{{{n}}}", self.prefix)).find(|key| is_wanted(slot(key)))
    }

    /// Returns the pattern by which `SCAN` finds the keys of names that begin with `name_prefix`.
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

/// Returns the slot of a key in a Cluster. Braces in a name or a prefix may be a hash tag, which affects only the slot.
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
