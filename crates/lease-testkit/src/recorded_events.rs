//! An observer that records events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lease_core::{LeaseEvent, LossReason, Observer};

/// Records all events. Clones share their record.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecordedEvents(Arc<Mutex<Vec<LeaseEvent>>>);

impl RecordedEvents {
    pub(crate) fn count(&self, is_it: impl Fn(&LeaseEvent) -> bool) -> usize {
        self.lock().iter().filter(|event| is_it(event)).count()
    }

    pub(crate) fn losses(&self) -> Vec<LossReason> {
        let loss = |event: &LeaseEvent| match event {
            LeaseEvent::Lost { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        self.lock().iter().filter_map(loss).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<LeaseEvent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for RecordedEvents {
    fn observe(&self, event: &LeaseEvent) {
        self.lock().push(event.clone());
    }
}
