//! The names of the leases of an election.

use lease_core::{HolderId, InvalidName, LeaseName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The characters that are encoded in a part of a name. `/` is one of them, so that no two groups or candidates share a name.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The names of the leases of a group of candidates.
///
/// `elections/{group}/leader` is the lease of the leader; each candidate holds `elections/{group}/candidates/{id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) leader: LeaseName,
    candidates: String,
}

impl Group {
    pub(crate) fn new(name: &str) -> Result<Self, InvalidName> {
        if name.is_empty() {
            return Err(InvalidName::Empty);
        }
        let group = utf8_percent_encode(name, ENCODED);
        Ok(Self {
            leader: LeaseName::new(format!("elections/{group}/leader"))?,
            candidates: format!("elections/{group}/candidates/"),
        })
    }

    /// Returns the prefix of the names of all candidates of the group.
    pub(crate) fn candidates(&self) -> &str {
        &self.candidates
    }

    pub(crate) fn candidate(&self, id: &HolderId) -> Result<LeaseName, InvalidName> {
        LeaseName::new(format!("{}{}", self.candidates, utf8_percent_encode(id.as_str(), ENCODED)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_groups_or_candidates_share_a_name() {
        let outer = Group::new("orders").unwrap();
        let inner = Group::new("orders/candidates").unwrap();
        let id = HolderId::new("leader").unwrap();
        assert_ne!(outer.candidate(&id).unwrap(), inner.leader);
        assert!(!inner.leader.as_str().starts_with(outer.candidates()));
        assert_ne!(Group::new("a b").unwrap(), Group::new("a%20b").unwrap());
    }

    #[test]
    fn names_that_no_store_can_hold_are_refused() {
        assert!(Group::new("").is_err() && Group::new(&"x".repeat(250)).is_err());
        assert_eq!(Group::new("größe 1").unwrap().leader.as_str(), "elections/gr%C3%B6%C3%9Fe%201/leader");
    }
}
