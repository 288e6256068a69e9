//! What this process knows of the documents by itself: what it wrote, and since when it has observed a version. It is a cache:
//! losing an entry costs a request or time, never safety.

use std::{collections::HashMap, time::Duration};

use lease_core::{LeaseName, Moment};

use crate::{Version, record::Record};

/// Entries are kept for at least this long.
const SHORTEST: Duration = Duration::from_secs(60);
/// Below this number nothing is removed.
const FEW: usize = 1024;

/// The names that this process has asked for lately.
#[derive(Debug, Default)]
pub(crate) struct Known {
    names: HashMap<LeaseName, Entry>,
    /// At this number of names, the old ones are removed.
    limit: usize,
}

#[derive(Debug)]
struct Entry {
    version: Version,
    /// The version has stood at least since then: the read of it, or the answer to the write of it, had come (S2).
    since: Moment,
    own: Option<Own>,
    forget_at: Moment,
}

/// A record that this process wrote.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    /// When the write began.
    pub(crate) began: Moment,
    /// When its answer had come.
    pub(crate) answered: Moment,
    pub(crate) record: Record,
    pub(crate) version: Version,
}

impl Known {
    /// Notes that a read which has just returned showed this version. Returns since when this process has observed it, and the
    /// record, if this process wrote it.
    pub(crate) fn observe(
        &mut self,
        name: &LeaseName,
        version: &Version,
        keep: Duration,
        now: Moment,
    ) -> (Moment, Option<Own>) {
        let forget_at = now + keep.max(SHORTEST).saturating_mul(2);
        match self.names.get_mut(name) {
            Some(entry) if entry.version.tag == version.tag => {
                entry.forget_at = entry.forget_at.max(forget_at);
                (entry.since, entry.own.clone())
            }
            _ => {
                self.insert(name, Entry { version: version.clone(), since: now, own: None, forget_at }, now);
                (now, None)
            }
        }
    }

    /// Notes a write of this process.
    pub(crate) fn wrote(&mut self, name: &LeaseName, own: Own) {
        let now = own.answered;
        let forget_at = now + own.record.lasts().max(SHORTEST).saturating_mul(2);
        let entry = Entry { version: own.version.clone(), since: now, own: Some(own), forget_at };
        self.insert(name, entry, now);
    }

    /// Returns the record that this process wrote last, if it knows of no later one.
    pub(crate) fn own(&self, name: &LeaseName) -> Option<Own> {
        self.names.get(name)?.own.clone()
    }

    /// Forgets the content of the last write, after a conflict or an unknown outcome. The version is kept: what is older is stale.
    pub(crate) fn forget_own(&mut self, name: &LeaseName) {
        if let Some(entry) = self.names.get_mut(name) {
            entry.own = None;
        }
    }

    /// Forgets a name that has no document.
    pub(crate) fn remove(&mut self, name: &LeaseName) {
        self.names.remove(name);
    }

    /// Returns whether a read of this version is stale: it is older than one that this process saw lately. If the store still shows
    /// it after minutes, its data has gone back, and the version is the current one.
    pub(crate) fn is_stale(&self, name: &LeaseName, version: &Version, now: Moment) -> bool {
        let known = self.names.get(name).filter(|entry| now < entry.forget_at).and_then(|entry| entry.version.number);
        matches!((known, version.number), (Some(known), Some(number)) if number < known)
    }

    fn insert(&mut self, name: &LeaseName, entry: Entry, now: Moment) {
        if self.names.len() >= self.limit.max(FEW) {
            self.names.retain(|_, entry| now < entry.forget_at);
            self.limit = self.names.len() * 2;
        }
        self.names.insert(name.clone(), entry);
    }
}
