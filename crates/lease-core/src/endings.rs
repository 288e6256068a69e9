//! Hints that grants have ended without their holders' doing.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use crate::{FencingToken, LeaseName};

/// Where a store hints that grants have ended without their holders' doing: a record was removed, or a grant broken.
/// Clones are the same; all clients of a store share them.
///
/// A hint ends nothing (S20): who holds a grant of the name, and keeps it by automatic renewal, renews it at once, and the
/// answer tells (S6). A hint that is lost costs time only, until the next renewal.
#[derive(Clone, Default)]
pub struct Endings {
    holdings: Arc<Mutex<Vec<Weak<dyn Holdings>>>>,
}

/// The grants that a client holds.
pub(crate) trait Holdings: Send + Sync {
    /// The grant of this name with this token has perhaps ended, and all before it.
    fn perhaps_ended(&self, name: &LeaseName, token: FencingToken);
}

impl Endings {
    /// Hints that the grant of this name with this token has ended, and all before it. Who tells of a removal may give any
    /// number between the removed token and the next one. Does not block.
    pub fn tell(&self, name: &LeaseName, token: FencingToken) {
        for holdings in self.lock().iter().filter_map(Weak::upgrade) {
            holdings.perhaps_ended(name, token);
        }
    }

    /// Tells these holdings, too, until they are gone.
    pub(crate) fn tell_also(&self, holdings: Weak<dyn Holdings>) {
        let mut all = self.lock();
        all.retain(|other| other.strong_count() > 0 && !Weak::ptr_eq(other, &holdings));
        all.push(holdings);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<dyn Holdings>>> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Endings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endings").field("clients", &self.lock().len()).finish()
    }
}
