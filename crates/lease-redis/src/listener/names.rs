//! The names for which callers wait, in one runtime.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lease_core::{LeaseName, WakeupRegistry, Wakeups};

/// The waiters of each name, and whether the server has the subscription.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(Arc<Mutex<HashMap<LeaseName, Waiting>>>);

#[derive(Debug, Default)]
struct Waiting {
    /// The waiters of this name.
    registry: WakeupRegistry,
    is_subscribed: bool,
}

impl Names {
    /// Adds a waiter, and wakes it at once if the server has the subscription already. Returns whether it has.
    pub(super) fn subscribe(&self, name: &LeaseName) -> (Wakeups, bool) {
        let mut names = self.lock();
        let waiting = names.entry(name.clone()).or_default();
        let wakeups = waiting.registry.subscribe(name);
        if waiting.is_subscribed {
            waiting.registry.wake(name);
        }
        (wakeups, waiting.is_subscribed)
    }

    pub(super) fn wake(&self, name: &LeaseName) {
        if let Some(waiting) = self.lock().get(name) {
            waiting.registry.wake(name);
        }
    }

    pub(super) fn wake_all(&self) {
        self.lock().values().for_each(|waiting| waiting.registry.wake_all());
    }

    /// Notes that the server has no subscription any more.
    pub(super) fn reset(&self) {
        self.lock().values_mut().for_each(|waiting| waiting.is_subscribed = false);
    }

    /// Returns the names for which the server has no subscription.
    pub(super) fn unsubscribed(&self) -> Vec<LeaseName> {
        self.lock().iter().filter(|(_, waiting)| !waiting.is_subscribed).map(|(name, _)| name.clone()).collect()
    }

    /// Notes that the server has these subscriptions, and wakes the waiters, who may have missed hints before.
    pub(super) fn set_subscribed(&self, subscribed: &[LeaseName]) {
        let mut names = self.lock();
        for name in subscribed {
            if let Some(waiting) = names.get_mut(name) {
                waiting.is_subscribed = true;
                waiting.registry.wake_all();
            }
        }
    }

    pub(super) fn has_waiters(&self) -> bool {
        self.lock().values().any(|waiting| !waiting.registry.is_empty())
    }

    /// Removes the names without waiters, and returns them.
    pub(super) fn remove_unused(&self) -> Vec<LeaseName> {
        let mut names = self.lock();
        let unused: Vec<LeaseName> =
            names.iter().filter(|(_, waiting)| waiting.registry.is_empty()).map(|(name, _)| name.clone()).collect();
        for name in &unused {
            names.remove(name);
        }
        unused
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LeaseName, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_waiters_are_removed() {
        let names = Names::default();
        let (job, other) = (LeaseName::new("job").unwrap(), LeaseName::new("other").unwrap());
        let (one, is_subscribed) = names.subscribe(&job);
        assert!(!is_subscribed);
        let (two, _) = names.subscribe(&job);
        let (_three, _) = names.subscribe(&other);
        names.set_subscribed(&names.unsubscribed());
        assert!(names.unsubscribed().is_empty() && names.subscribe(&job).1);
        drop(one);
        assert!(names.remove_unused().is_empty());
        drop(two);
        assert_eq!(names.remove_unused(), std::slice::from_ref(&job));
        assert!(!names.subscribe(&job).1, "it must be subscribed to again");
        names.reset();
        assert_eq!(names.unsubscribed().len(), 2);
    }
}
