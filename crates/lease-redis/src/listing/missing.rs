//! The names that the index lacks: their addition failed, or was not answered in time.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lease_core::LeaseName;

/// The largest number of missing names. Renewals add those beyond it.
const MAX_MISSING: usize = 10_000;

/// The names to add, and whether a task adds them.
#[derive(Default)]
pub(super) struct Missing(Mutex<State>);

#[derive(Default)]
struct State {
    names: BTreeSet<LeaseName>,
    has_task: bool,
}

impl Missing {
    /// Notes missing names. Returns the right to add them, if no task has it.
    pub(super) fn note(&self, names: &[LeaseName]) -> bool {
        let mut state = self.lock();
        let room = MAX_MISSING.saturating_sub(state.names.len());
        state.names.extend(names.iter().take(room).cloned());
        !std::mem::replace(&mut state.has_task, true)
    }

    /// Returns the names to add. If there are none, the task ends.
    pub(super) fn to_add(&self) -> Vec<LeaseName> {
        let mut state = self.lock();
        state.has_task = !state.names.is_empty();
        state.names.iter().cloned().collect()
    }

    /// Notes that names were added.
    pub(super) fn added(&self, names: &[LeaseName]) {
        let mut state = self.lock();
        for name in names {
            state.names.remove(name);
        }
    }

    /// Notes that the task has ended.
    pub(super) fn task_ended(&self) {
        self.lock().has_task = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_task_at_a_time_adds_all_names() {
        let (missing, [a, b]) = (Missing::default(), ["a", "b"].map(|name| [LeaseName::new(name).unwrap()]));
        assert!(missing.note(&b));
        assert!(!missing.note(&a));
        assert_eq!(missing.to_add(), [a.clone(), b.clone()].concat());
        missing.added(&a);
        assert_eq!(missing.to_add(), b);
        assert!(!missing.note(&[]));
        missing.added(&b);
        assert!(missing.to_add().is_empty());
        assert!(missing.note(&[]), "the task has ended, and is needed again");
        missing.task_ended();
        assert!(missing.note(&[]));
    }

    #[test]
    fn the_memory_is_bounded() {
        let missing = Missing::default();
        let names: Vec<_> = (0..=MAX_MISSING).map(|n| LeaseName::new(format!("{n}")).unwrap()).collect();
        missing.note(&names);
        assert_eq!(missing.to_add().len(), MAX_MISSING);
    }
}
