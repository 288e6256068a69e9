//! The feed by which a store tells clients that a grant may have ended early.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use crate::{FencingToken, LeaseName};

/// The revocation feed of a store: hints that a grant was broken, or that its record was removed.
///
/// A provider owns one, returns clones of it from [`LeaseStore::revocations`](crate::LeaseStore::revocations), and calls
/// [`notify`](Self::notify). All clones share their subscribers, which are the clients of the store.
///
/// A hint ends nothing by itself (S20). A client that holds a grant of the name, with automatic renewal, renews it at once, and
/// the store's answer decides (S6). A lost hint delays the discovery until the next renewal.
#[derive(Clone, Default)]
pub struct Revocations {
    subscribers: Arc<Mutex<Vec<Weak<dyn Subscriber>>>>,
}

/// A client that holds grants.
pub(crate) trait Subscriber: Send + Sync {
    /// The grants of this name with this token or an earlier one may have ended.
    fn may_have_ended(&self, name: &LeaseName, token: FencingToken);
}

impl Revocations {
    /// Hints that the grant of `name` with `token`, and every earlier one, has ended. Never blocks.
    ///
    /// A provider that sees a record disappear without its token may pass any number from the removed token up to, but not
    /// including, the next one.
    pub fn notify(&self, name: &LeaseName, token: FencingToken) {
        for subscriber in self.lock().iter().filter_map(Weak::upgrade) {
            subscriber.may_have_ended(name, token);
        }
    }

    /// Adds a subscriber, once, for as long as it lives.
    pub(crate) fn subscribe(&self, subscriber: Weak<dyn Subscriber>) {
        let mut subscribers = self.lock();
        subscribers.retain(|other| other.strong_count() > 0 && !Weak::ptr_eq(other, &subscriber));
        subscribers.push(subscriber);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<dyn Subscriber>>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("subscribers", &self.lock().len()).finish()
    }
}
