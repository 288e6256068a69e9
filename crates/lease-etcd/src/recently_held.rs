//! Names that were held a moment ago. They are read first, because a read is probably enough, and no member writes it (L2).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lease_core::{LeaseName, Moment};

/// How long a name counts as recently held: longer than the pause between two polls of a waiter.
const COUNTS_FOR: Duration = Duration::from_secs(5);
/// The maximum number of names that are remembered. For the others, the acquire is attempted at once.
const MAX_NAMES: usize = 10_000;

/// The names, each with the moment until which it counts. It is only a hint: attempting first and reading first lead to the
/// same answer.
#[derive(Debug, Default)]
pub(crate) struct RecentlyHeld(Mutex<HashMap<LeaseName, Moment>>);

impl RecentlyHeld {
    pub(crate) fn contains(&self, name: &LeaseName, now: Moment) -> bool {
        self.lock().get(name).is_some_and(|until| now < *until)
    }

    /// Records whether another holder has the name.
    pub(crate) fn note(&self, name: &LeaseName, is_held: bool, now: Moment) {
        let mut names = self.lock();
        if !is_held {
            names.remove(name);
            return;
        }
        if names.len() >= MAX_NAMES {
            names.retain(|_, until| now < *until);
        }
        if names.len() < MAX_NAMES || names.contains_key(name) {
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
        (0..MAX_NAMES + 1).for_each(|number| held.note(&name(number), true, at(2)));
        assert!(held.contains(&name(0), at(2)) && !held.contains(&name(MAX_NAMES), at(2)));
        held.note(&name(MAX_NAMES), true, at(7));
        assert!(held.contains(&name(MAX_NAMES), at(7)), "old names are removed");
        assert_eq!(held.lock().len(), 1);
    }
}
