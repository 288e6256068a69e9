//! Hints that a lease may have changed.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::LeaseName;

/// A subscription to hints that a name may have changed, from [`LeaseStore::subscribe`](crate::LeaseStore::subscribe).
///
/// A hint never grants anything (S20): it says that it may be worth trying to acquire the name, or reading its record, now.
/// Hints that arrive while nothing waits for them are merged into one. Dropping the value ends the subscription.
pub struct Wakeups {
    hint: Arc<Notify>,
    registration: Option<(WakeupRegistry, LeaseName)>,
}

impl Wakeups {
    /// Creates a subscription without hints, for stores without push. Waiters poll.
    #[must_use]
    pub fn never() -> Self {
        Self { hint: Arc::default(), registration: None }
    }

    /// Waits for the next hint.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no hint is lost.
    pub async fn next(&mut self) {
        self.hint.notified().await;
    }
}

impl Drop for Wakeups {
    fn drop(&mut self) {
        if let Some((registry, name)) = &self.registration {
            registry.unsubscribe(name, &self.hint);
        }
    }
}

impl fmt::Debug for Wakeups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wakeups").field("name", &self.registration.as_ref().map(|(_, name)| name)).finish()
    }
}

/// The subscribers to hints, by name. A provider owns one, so that one connection serves all waiters of a process.
#[derive(Clone, Default)]
pub struct WakeupRegistry {
    subscribers: Arc<Mutex<BTreeMap<LeaseName, Vec<Arc<Notify>>>>>,
}

impl WakeupRegistry {
    /// Subscribes to hints for this name. Gives no hint yet: the provider calls [`WakeupRegistry::wake`] as soon as its own
    /// subscription to the server is active.
    #[must_use]
    pub fn subscribe(&self, name: &LeaseName) -> Wakeups {
        let hint = Arc::new(Notify::new());
        self.lock().entry(name.clone()).or_default().push(Arc::clone(&hint));
        Wakeups { hint, registration: Some((self.clone(), name.clone())) }
    }

    /// Sends a hint to all subscribers of this name.
    pub fn wake(&self, name: &LeaseName) {
        for hint in self.lock().get(name).into_iter().flatten() {
            hint.notify_one();
        }
    }

    /// Sends a hint to all subscribers. For a reconnect, when hints may have been missed.
    pub fn wake_all(&self) {
        for hint in self.lock().values().flatten() {
            hint.notify_one();
        }
    }

    /// Returns whether there are no subscribers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn unsubscribe(&self, name: &LeaseName, hint: &Arc<Notify>) {
        let mut subscribers = self.lock();
        if let Some(hints) = subscribers.get_mut(name) {
            hints.retain(|other| !Arc::ptr_eq(other, hint));
            if hints.is_empty() {
                subscribers.remove(name);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LeaseName, Vec<Arc<Notify>>>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for WakeupRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakeupRegistry").field("names", &self.lock().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use super::*;

    fn is_hinted(wakeups: &mut Wakeups) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(wakeups.next()).poll(&mut context).is_ready()
    }

    #[test]
    fn hints_reach_every_subscriber_of_the_name_and_fold_into_one() {
        let registry = WakeupRegistry::default();
        let (job, other) = (LeaseName::new("job").unwrap(), LeaseName::new("job2").unwrap());
        let (mut one, mut two, mut three) =
            (registry.subscribe(&job), registry.subscribe(&job), registry.subscribe(&other));
        registry.wake(&job);
        registry.wake(&job);
        assert!(is_hinted(&mut one) && !is_hinted(&mut one));
        assert!(is_hinted(&mut two) && !is_hinted(&mut three));
        registry.wake_all();
        assert!(is_hinted(&mut one) && is_hinted(&mut two) && is_hinted(&mut three));
    }

    #[test]
    fn a_dropped_subscription_leaves_nothing_behind() {
        let registry = WakeupRegistry::default();
        let name = LeaseName::new("job").unwrap();
        let (one, two) = (registry.subscribe(&name), registry.subscribe(&name));
        drop(one);
        assert!(!registry.is_empty());
        drop(two);
        assert!(registry.is_empty());
    }

    #[test]
    fn no_push_means_no_hint() {
        assert!(!is_hinted(&mut Wakeups::never()));
    }
}
