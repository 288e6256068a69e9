//! The leases that are held, and how long they are valid.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lease_core::{Clock, FencingToken, LeaseName, Moment, SystemClock};

use crate::groups::Group;

/// A grant, by store, name and token: an event of an earlier grant of the name changes nothing.
pub(crate) type Key = (Option<&'static str>, LeaseName, FencingToken);

/// The leases that are held.
#[derive(Default)]
pub(crate) struct HeldLeases(Mutex<HashMap<Key, Held>>);

struct Held {
    /// How many leases have this key: the clients of one observer may have stores in which the same name has the same token.
    count: usize,
    group: Group,
    ttl: Duration,
    valid_until: Moment,
    is_in_jeopardy: bool,
    leads: bool,
}

/// The least validity of the leases of one store and group.
#[derive(Debug)]
pub(crate) struct Validity {
    pub(crate) store: Option<&'static str>,
    pub(crate) group: Group,
    pub(crate) remaining: Duration,
    /// The least share of a ttl.
    pub(crate) share: f64,
}

impl HeldLeases {
    pub(crate) fn granted(&self, key: Key, group: &Group, ttl: Duration, valid_for: Duration) {
        let valid_until = SystemClock.now() + valid_for;
        let mut leases = self.lock();
        let held = leases.entry(key).or_insert_with(|| Held {
            count: 0,
            group: group.clone(),
            ttl,
            valid_until,
            is_in_jeopardy: false,
            leads: false,
        });
        held.count += 1;
        (held.ttl, held.valid_until) = (ttl, valid_until);
    }

    /// Notes a renewal. Returns whether a candidate leads under the lease.
    pub(crate) fn renewed(&self, key: &Key, valid_for: Duration) -> bool {
        let valid_until = SystemClock.now() + valid_for;
        self.lock().get_mut(key).is_some_and(|held| {
            held.valid_until = valid_until;
            held.leads
        })
    }

    /// Notes that a candidate leads under the lease. Returns how long it is valid.
    pub(crate) fn leads(&self, key: &Key) -> Option<Duration> {
        let now = SystemClock.now();
        self.lock().get_mut(key).map(|held| {
            held.leads = true;
            held.valid_until.saturating_since(now)
        })
    }

    /// Sets whether the lease is in jeopardy. Returns whether that is a change: it may be reported after the loss.
    pub(crate) fn in_jeopardy(&self, key: &Key, is_in_jeopardy: bool) -> bool {
        self.lock()
            .get_mut(key)
            .is_some_and(|held| std::mem::replace(&mut held.is_in_jeopardy, is_in_jeopardy) != is_in_jeopardy)
    }

    /// Removes a lease. Returns whether one that counts as in jeopardy goes with it, or `None` if it is not known.
    pub(crate) fn lost(&self, key: &Key) -> Option<bool> {
        let mut leases = self.lock();
        let held = leases.get_mut(key)?;
        held.count -= 1;
        if held.count > 0 {
            return Some(false);
        }
        leases.remove(key).map(|held| held.is_in_jeopardy)
    }

    /// Returns the least validity for each store and group with a lease.
    pub(crate) fn validities(&self) -> Vec<Validity> {
        let now = SystemClock.now();
        let mut least: HashMap<(Option<&str>, usize), Validity> = HashMap::new();
        for ((store, ..), held) in &*self.lock() {
            let remaining = held.valid_until.saturating_since(now);
            let share = remaining.div_duration_f64(held.ttl);
            let of_group = least.entry((*store, held.group.number)).or_insert_with(|| Validity {
                store: *store,
                group: held.group.clone(),
                remaining,
                share,
            });
            of_group.remaining = of_group.remaining.min(remaining);
            of_group.share = of_group.share.min(share);
        }
        least.into_values().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for HeldLeases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldLeases").field("leases", &self.lock().len()).finish()
    }
}
