//! Groups of leases: the only part of a name that may become a label.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use lease_core::LeaseName;
use percent_encoding::percent_decode_str;

/// The largest number of groups. All others are the group `other`.
const MAX_GROUPS: usize = 100;
const OTHER: &str = "other";

/// How leases are grouped: the attribute `lease.group` of all instruments.
///
/// A name is never a label, because every label value is a time series of its own, in the process and in the database of metrics. A
/// [`LeaseMetrics`](crate::LeaseMetrics), with all its clones, has at most 100 groups; leases of further ones are counted in the group
/// `other`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Groups {
    separator: Option<char>,
}

impl Groups {
    /// No groups, which is the default.
    #[must_use]
    pub const fn none() -> Self {
        Self { separator: None }
    }

    /// The group of a lease is the part of its name before the first `separator`. A name without a separator has no group. The group
    /// of a leadership is the name of its election.
    #[must_use]
    pub const fn up_to(separator: char) -> Self {
        Self { separator: Some(separator) }
    }

    fn of(self, name: &LeaseName) -> Option<Source<'_>> {
        let separator = self.separator?;
        let election = name.as_str().strip_prefix("elections/").and_then(|rest| rest.strip_suffix("/leader"));
        match election {
            Some(election) if !election.contains('/') => Some(Source::Election(election)),
            _ => name.as_str().split_once(separator).map(|(prefix, _)| Source::Prefix(prefix)),
        }
    }
}

/// Where a group comes from.
enum Source<'a> {
    Prefix(&'a str),
    /// The name of an election, percent-encoded.
    Election(&'a str),
}

impl Source<'_> {
    fn label(&self) -> Cow<'_, str> {
        match self {
            Self::Prefix(prefix) => Cow::Borrowed(prefix),
            Self::Election(encoded) => percent_decode_str(encoded).decode_utf8_lossy(),
        }
    }
}

/// The group of a lease.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// 0 for none.
    pub(crate) number: usize,
    pub(crate) label: Option<Arc<str>>,
    /// Whether the lease is the leadership of an election, and the group its name.
    pub(crate) is_election: bool,
}

impl Group {
    const NONE: Self = Self { number: 0, label: None, is_election: false };
}

/// The groups that have been seen.
#[derive(Debug, Default)]
pub(crate) struct GroupTable(RwLock<Seen>);

#[derive(Debug, Default)]
struct Seen {
    prefixes: HashMap<Arc<str>, Group>,
    elections: HashMap<Arc<str>, Group>,
    labels: Vec<Arc<str>>,
    other: Option<Group>,
}

impl GroupTable {
    /// Returns the group of a lease. Allocates only when it is seen for the first time.
    pub(crate) fn group_of(&self, groups: Groups, name: &LeaseName) -> Group {
        let Some(source) = groups.of(name) else { return Group::NONE };
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&source);
        known.unwrap_or_else(|| self.0.write().unwrap_or_else(PoisonError::into_inner).add(&source))
    }
}

impl Seen {
    fn get(&self, source: &Source<'_>) -> Option<Group> {
        let known = match *source {
            Source::Prefix(prefix) => self.prefixes.get(prefix),
            Source::Election(encoded) => self.elections.get(encoded),
        };
        known.or(self.other.as_ref()).cloned()
    }

    fn add(&mut self, source: &Source<'_>) -> Group {
        if let Some(group) = self.get(source) {
            return group;
        }
        let label = source.label();
        let position = self.labels.iter().position(|known| **known == *label).unwrap_or_else(|| {
            self.labels.push(Arc::from(&*label));
            self.labels.len() - 1
        });
        let is_election = matches!(source, Source::Election(_));
        let group = Group { number: position + 1, label: Some(Arc::clone(&self.labels[position])), is_election };
        match *source {
            Source::Prefix(prefix) => self.prefixes.insert(prefix.into(), group.clone()),
            Source::Election(encoded) => self.elections.insert(encoded.into(), group.clone()),
        };
        if self.labels.len() == MAX_GROUPS {
            self.other = Some(Group { number: MAX_GROUPS + 1, label: Some(Arc::from(OTHER)), is_election: false });
        }
        group
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn label(table: &GroupTable, groups: Groups, name: &str) -> Option<String> {
        table.group_of(groups, &LeaseName::new(name).unwrap()).label.map(|label| label.to_string())
    }

    #[test]
    fn the_group_is_the_part_before_the_separator_or_the_name_of_the_election() {
        let table = GroupTable::default();
        let cases = [
            ("orders/17", Some("orders")),
            ("orders/17/items", Some("orders")),
            ("/orders", Some("")),
            ("nightly-report", None),
            ("elections/dispatcher/leader", Some("dispatcher")),
            ("elections/gr%C3%B6%C3%9Fe%201%2F2/leader", Some("größe 1/2")),
            ("elections/dispatcher/candidates/leader", Some("elections")),
            ("elections/leader", Some("elections")),
            ("elections/a/b/leader", Some("elections")),
        ];
        for (name, group) in cases {
            assert_eq!(label(&table, Groups::up_to('/'), name).as_deref(), group, "{name}");
            assert_eq!(label(&table, Groups::none(), name), None);
        }
        assert_eq!(label(&table, Groups::up_to(':'), "tenant:7/x").as_deref(), Some("tenant"));
        assert_eq!(label(&table, Groups::default(), "orders/17"), None);
    }

    #[test]
    fn ten_thousand_names_are_at_most_101_groups() {
        let (table, groups) = (GroupTable::default(), Groups::up_to('/'));
        let mut labels = BTreeSet::new();
        let mut numbers = BTreeSet::new();
        for n in 0..10_000 {
            for name in [format!("group-{n}/x"), format!("elections/group-{}/leader", n + 50)] {
                let group = table.group_of(groups, &LeaseName::new(name).unwrap());
                numbers.insert(group.number);
                labels.insert(group.label.unwrap().to_string());
            }
        }
        assert_eq!((labels.len(), numbers.len()), (101, 101));
        assert!(labels.contains(OTHER) && labels.contains("group-0"));
        assert_eq!(label(&table, groups, "group-0/y").as_deref(), Some("group-0"), "the first ones keep their group");
        let seen = table.0.read().unwrap();
        assert!(seen.prefixes.len() + seen.elections.len() <= 200);
    }
}
