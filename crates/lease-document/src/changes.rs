//! The feed of changed documents: a backend with push tells of them, and the store makes hints of it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use lease_core::LeaseName;

use crate::Foreign;

/// The feed of documents that were changed. A backend owns one, returns clones of it from
/// [`Documents::changes`](crate::Documents::changes), and calls [`notify`](Self::notify).
///
/// A change is a hint (S20): it grants and ends nothing. A lost one costs time.
#[derive(Clone)]
pub struct Changes {
    inner: Option<Arc<Mutex<Feed>>>,
}

#[derive(Default)]
struct Feed {
    is_connected: bool,
    listeners: Vec<Weak<dyn Listener>>,
}

/// What happened to a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change<'a> {
    /// This record was written.
    Written(&'a [u8]),
    /// Another program wrote it.
    Foreign(&'a Foreign),
    /// It was deleted.
    Deleted,
    /// It was written or deleted. Waiters look, also after a renewal; the holder learns of it at its next renewal.
    Unknown,
}

/// A store that makes hints of changes.
pub(crate) trait Listener: Send + Sync {
    fn changed(&self, name: &LeaseName, change: Change<'_>);
    fn connected(&self);
    fn wrote(&self, name: &LeaseName) -> bool;
}

impl Changes {
    /// Creates a feed without hints, for a store without push.
    #[must_use]
    pub const fn never() -> Self {
        Self { inner: None }
    }

    /// Creates a feed that is not connected yet.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: Some(Arc::default()) }
    }

    /// Says that the backend's own subscription is active from now on: at its start, and again after each reconnect, because
    /// changes may have been missed. Never blocks.
    pub fn connected(&self) {
        let Some(mut feed) = self.lock() else { return };
        feed.is_connected = true;
        let listeners = feed.listeners.clone();
        drop(feed);
        listeners.iter().filter_map(Weak::upgrade).for_each(|listener| listener.connected());
    }

    /// Says that the backend's own subscription has ended, until [`connected`](Self::connected).
    pub fn disconnected(&self) {
        if let Some(mut feed) = self.lock() {
            feed.is_connected = false;
        }
    }

    /// Says that a document was changed. Never blocks.
    pub fn notify(&self, name: &LeaseName, change: Change<'_>) {
        let Some(feed) = self.lock() else { return };
        let listeners = feed.listeners.clone();
        drop(feed);
        listeners.iter().filter_map(Weak::upgrade).for_each(|listener| listener.changed(name, change));
    }

    /// Returns whether a store of this process wrote the document last, as far as it knows. A backend whose subscription does not
    /// bring what was written reads it then, and says [`Change::Unknown`] of all other documents.
    #[must_use]
    pub fn is_own(&self, name: &LeaseName) -> bool {
        let Some(feed) = self.lock() else { return false };
        let listeners = feed.listeners.clone();
        drop(feed);
        listeners.iter().filter_map(Weak::upgrade).any(|listener| listener.wrote(name))
    }

    /// Adds a listener, once, for as long as it lives. Returns whether the feed is connected.
    pub(crate) fn listen(&self, listener: Weak<dyn Listener>) -> bool {
        let Some(mut feed) = self.lock() else { return false };
        feed.listeners.retain(|other| other.strong_count() > 0 && !Weak::ptr_eq(other, &listener));
        feed.listeners.push(listener);
        feed.is_connected
    }

    fn lock(&self) -> Option<MutexGuard<'_, Feed>> {
        Some(self.inner.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("listeners", &self.lock().map_or(0, |feed| feed.listeners.len())).finish()
    }
}
