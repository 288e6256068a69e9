//! The keys of a lease.

use lease_core::LeaseName;

/// The keys below a prefix. Names contain no blanks, so a key with a blank after the name cannot be the key of another name:
/// `job blocked` is between `job` and every longer name (S21).
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
}

/// The end of the key that keeps a name blocked after its grant has ended.
const BLOCKED: &str = " blocked";

/// The beginning, after the prefix, of the keys of announcements. These keys are before all names.
const ANNOUNCED: &str = " announced/";

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the key of the grant in force. Its create revision is the token.
    pub(crate) fn grant(&self, name: &LeaseName) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Returns the key that keeps the name blocked without a grant.
    pub(crate) fn block(&self, name: &LeaseName) -> String {
        format!("{}{name}{BLOCKED}", self.prefix)
    }

    /// Returns the key of the last announced grant.
    pub(crate) fn announcement(&self, name: &LeaseName) -> String {
        format!("{}{ANNOUNCED}{name}", self.prefix)
    }

    /// Returns the range of the keys of all names that begin with `prefix` and come after `after`: the first key, and the
    /// first key after the range.
    pub(crate) fn range(&self, prefix: &str, after: Option<&LeaseName>) -> (Vec<u8>, Vec<u8>) {
        // No character of a name is less than '!'.
        let first = if prefix.is_empty() { "!" } else { prefix };
        let mut from = format!("{}{first}", self.prefix);
        if let Some(after) = after {
            from = from.max(format!("{}{after}!", self.prefix));
        }
        (from.into_bytes(), end_of(&format!("{}{prefix}", self.prefix)))
    }

    /// Returns the range of all keys.
    pub(crate) fn all(&self) -> (Vec<u8>, Vec<u8>) {
        (self.prefix.clone().into_bytes(), end_of(&self.prefix))
    }

    /// Returns the range of the keys of all announcements.
    pub(crate) fn announcements(&self) -> (Vec<u8>, Vec<u8>) {
        let all = format!("{}{ANNOUNCED}", self.prefix);
        (all.clone().into_bytes(), end_of(&all))
    }

    /// Returns the name that a key belongs to, and the role of the key.
    pub(crate) fn parse(&self, key: &[u8]) -> Option<(LeaseName, Role)> {
        let rest = std::str::from_utf8(key).ok()?.strip_prefix(&self.prefix)?;
        let (name, role) = match (rest.strip_suffix(BLOCKED), rest.strip_prefix(ANNOUNCED)) {
            (Some(name), _) => (name, Role::Block),
            (None, Some(name)) => (name, Role::Announcement),
            (None, None) => (rest, Role::Grant),
        };
        Some((LeaseName::new(name).ok()?, role))
    }
}

/// The role of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Grant,
    Block,
    Announcement,
}

/// Returns the first key after all keys that begin with this text, which must not be empty.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // UTF-8 has no byte 0xff, so the last byte can be incremented.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> LeaseName {
        LeaseName::new(name).unwrap()
    }

    #[test]
    fn keys_are_of_one_name_and_one_role() {
        let keys = Keys::new("leases/");
        for text in ["job", "job2", "a/b", "!", "blocked", "announced/job", "leases/"] {
            let name = name(text);
            for (key, role) in [
                (keys.grant(&name), Role::Grant),
                (keys.block(&name), Role::Block),
                (keys.announcement(&name), Role::Announcement),
            ] {
                assert_eq!(keys.parse(key.as_bytes()), Some((name.clone(), role)), "{key}");
            }
        }
        for foreign in ["other/job", "leases/", "leases/a b", "leases/job blocked blocked"] {
            assert_eq!(keys.parse(foreign.as_bytes()), None, "{foreign}");
        }
    }

    #[test]
    fn a_range_has_the_names_of_a_prefix_and_no_others() {
        let keys = Keys::new("leases/");
        let has = |prefix: &str, after: Option<&str>, key: &str| {
            let (from, end) = keys.range(prefix, after.map(name).as_ref());
            from.as_slice() <= key.as_bytes() && key.as_bytes() < end.as_slice()
        };
        assert!(has("job", None, "leases/job") && has("job", None, "leases/job2") && !has("job", None, "leases/jo"));
        assert!(has("job", None, "leases/job blocked") && !has("", None, "leases/ announced/job"));
        assert!(!has("", Some("job"), "leases/job") && !has("", Some("job"), "leases/job blocked"));
        assert!(has("", Some("job"), "leases/job!") && has("", Some("job"), "leases/job2"));
        assert!(!has("a", Some("z"), "leases/a") && has("z", Some("a"), "leases/z"));
    }
}
