//! Which keys a lease has.

use lease_core::LeaseName;

/// The keys below a prefix. Names have no blanks, so what is set off by one belongs to no other name: `job blocked` is
/// between `job` and every longer name (S21).
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
}

/// Set off from the name by a blank: the key of what keeps a name blocked after its grant has ended.
const BLOCKED: &str = " blocked";

/// Below the prefix, before all names: the keys of announcements.
const ANNOUNCED: &str = " announced/";

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Of the grant in force. Its create revision is the token.
    pub(crate) fn grant(&self, name: &LeaseName) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Of what keeps the name blocked without a grant.
    pub(crate) fn block(&self, name: &LeaseName) -> String {
        format!("{}{name}{BLOCKED}", self.prefix)
    }

    /// Of the last announced grant.
    pub(crate) fn announcement(&self, name: &LeaseName) -> String {
        format!("{}{ANNOUNCED}{name}", self.prefix)
    }

    /// The keys of all names that begin with `prefix` and come after `after`: from the first to before the second.
    pub(crate) fn range(&self, prefix: &str, after: Option<&LeaseName>) -> (Vec<u8>, Vec<u8>) {
        // The first letter of a name is '!' at least.
        let first = if prefix.is_empty() { "!" } else { prefix };
        let mut from = format!("{}{first}", self.prefix);
        if let Some(after) = after {
            from = from.max(format!("{}{after}!", self.prefix));
        }
        (from.into_bytes(), end_of(&format!("{}{prefix}", self.prefix)))
    }

    /// All keys of this library, to watch what is deleted.
    pub(crate) fn all(&self) -> (Vec<u8>, Vec<u8>) {
        (self.prefix.clone().into_bytes(), end_of(&self.prefix))
    }

    /// All announcements, to watch what is put.
    pub(crate) fn announcements(&self) -> (Vec<u8>, Vec<u8>) {
        let all = format!("{}{ANNOUNCED}", self.prefix);
        (all.clone().into_bytes(), end_of(&all))
    }

    /// The name that a key of a grant, or of a block, is of; which of the two it is.
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

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Grant,
    Block,
    Announcement,
}

/// The first key after all that begin with this text, which is not empty and ASCII in its last letter or ends before the
/// largest byte in any case.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // UTF-8 has no byte 0xff, so there is always a next one.
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
