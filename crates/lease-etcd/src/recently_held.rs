//! Names that were held a moment ago: a look at them is likely enough, and is not written by every member (L2).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lease_core::{LeaseName, Moment};

/// How long an answer counts: longer than the pause between two polls of a waiter.
const COUNTS_FOR: Duration = Duration::from_secs(5);
/// The most names that are remembered; of others, an attempt is made.
const MOST_NAMES: usize = 10_000;

/// Until when a name is looked at first. Only a hint: an attempt and a look lead to the same answer.
#[derive(Debug, Default)]
pub(crate) struct RecentlyHeld(Mutex<HashMap<LeaseName, Moment>>);

impl RecentlyHeld {
    pub(crate) fn contains(&self, name: &LeaseName, now: Moment) -> bool {
        self.lock().get(name).is_some_and(|until| now < *until)
    }

    /// Notes whether somebody else holds the name.
    pub(crate) fn note(&self, name: &LeaseName, is_held: bool, now: Moment) {
        let mut names = self.lock();
        if !is_held {
            names.remove(name);
            return;
        }
        if names.len() >= MOST_NAMES {
            names.retain(|_, until| now < *until);
        }
        if names.len() < MOST_NAMES || names.contains_key(name) {
            names.insert(name.clone(), now + COUNTS_FOR);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LeaseName, Moment>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_as_held_for_a_while_and_their_number_is_bounded() {
        let (held, at) = (RecentlyHeld::default(), |seconds| Moment::from_origin(Duration::from_secs(seconds)));
        let name = |number: usize| LeaseName::new(format!("job-{number}")).unwrap();
        held.note(&name(0), true, at(0));
        assert!(held.contains(&name(0), at(4)) && !held.contains(&name(0), at(5)) && !held.contains(&name(1), at(0)));
        held.note(&name(0), false, at(1));
        assert!(!held.contains(&name(0), at(1)));
        (0..MOST_NAMES + 1).for_each(|number| held.note(&name(number), true, at(2)));
        assert!(held.contains(&name(0), at(2)) && !held.contains(&name(MOST_NAMES), at(2)));
        held.note(&name(MOST_NAMES), true, at(7));
        assert!(held.contains(&name(MOST_NAMES), at(7)), "the old ones have gone");
        assert_eq!(held.lock().len(), 1);
    }
}
