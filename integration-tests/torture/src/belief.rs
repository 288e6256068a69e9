//! What a worker believes to hold, and how it is written down.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lease_core::{LeaseEvent, LeaseHandle, Moment, Observer, Released, Result};

use crate::{
    log::{Log, nanoseconds, now},
    record::Event,
};

/// What a worker believes to hold: one grant of a name at a time. Observes the renewals that the client makes. Clones are the same.
#[derive(Clone)]
pub(crate) struct Beliefs {
    log: Log,
    /// A moment of the client's clock, on the clock of the record.
    on_host: fn(Moment) -> Moment,
    open: Arc<Mutex<HashMap<String, Grant>>>,
}

struct Grant {
    handle: LeaseHandle,
    /// The last one, as it is in the record; a lease that is lost does not tell it any more.
    deadline: u64,
}

/// A grant that a worker believes in. It ends with a loss when it is dropped before it has ended otherwise, as the work is
/// that the library cuts.
pub(crate) struct Belief {
    beliefs: Beliefs,
    name: String,
    token: u64,
    has_ended: bool,
}

impl Beliefs {
    pub(crate) fn new(log: Log, on_host: fn(Moment) -> Moment) -> Self {
        Self { log, on_host, open: Arc::default() }
    }

    /// A lease was granted just now.
    pub(crate) fn begin(&self, attempt: u64, handle: LeaseHandle) -> Belief {
        let (at, name, token) = (now(), handle.name().to_string(), handle.token().get());
        // A lease that is lost already was believed in for no time.
        let deadline = self.deadline(&handle).unwrap_or(at);
        self.open().insert(name.clone(), Grant { handle, deadline });
        self.log.write_at(at, Event::Granted { name: name.clone(), attempt, token, until: deadline });
        Belief { beliefs: self.clone(), name, token, has_ended: false }
    }

    /// The local deadline of a lease, unless it is lost.
    fn deadline(&self, handle: &LeaseHandle) -> Option<u64> {
        let deadline = handle.valid_until();
        let is_lost = deadline == Moment::from_origin(Duration::ZERO);
        (!is_lost).then(|| nanoseconds((self.on_host)(deadline).since_origin()))
    }

    /// A lease is held still. If its deadline has moved without a renewal, because the client's clock has jumped, it is written
    /// down once more.
    pub(crate) fn still(&self, lease: &LeaseHandle) {
        let mut open = self.open();
        let held = open.get_mut(lease.name().as_str()).filter(|grant| grant.handle.token() == lease.token());
        if let Some(grant) = held
            && let Some(deadline) = self.deadline(lease)
            && deadline > grant.deadline.saturating_add(1_000_000)
        {
            grant.deadline = deadline;
            let (name, token) = (lease.name().to_string(), lease.token().get());
            self.log.write(Event::Renewed { name, token, until: deadline });
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Grant>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Beliefs {
    fn observe(&self, event: &LeaseEvent) {
        let LeaseEvent::Renewed { name, token, .. } = event else { return };
        let mut open = self.open();
        let Some(grant) = open.get_mut(name.as_str()).filter(|grant| grant.handle.token() == *token) else { return };
        if let Some(deadline) = self.deadline(&grant.handle) {
            grant.deadline = deadline;
            self.log.write(Event::Renewed { name: name.to_string(), token: token.get(), until: deadline });
        }
    }
}

impl Belief {
    /// The loss was signalled just now.
    pub(crate) fn lost(&mut self, reason: &str) {
        let (at, reason) = (now(), reason.to_owned());
        let deadline = self.end();
        let (name, token) = (self.name.clone(), self.token);
        self.beliefs.log.write_at(at, Event::Lost { name, token, reason, deadline });
    }

    /// The lease is about to be given up.
    pub(crate) fn releasing(&mut self) {
        self.beliefs.log.write(Event::Releasing { name: self.name.clone(), token: self.token });
        self.end();
    }

    /// The store was told.
    pub(crate) fn released(&self, outcome: &Result<Released>) {
        let outcome = match outcome {
            Ok(Released::Freed) => "released".to_owned(),
            Ok(Released::NotHeld) => "not_held".to_owned(),
            Err(error) => error.to_string(),
            other => panic!("unexpected answer: {other:?}"),
        };
        self.beliefs.log.write(Event::Released { name: self.name.clone(), token: self.token, outcome });
    }

    fn end(&mut self) -> u64 {
        self.has_ended = true;
        self.beliefs.open().remove(&self.name).map_or(0, |grant| grant.deadline)
    }
}

impl Drop for Belief {
    fn drop(&mut self) {
        if !self.has_ended {
            self.lost("the work was dropped");
        }
    }
}

impl fmt::Debug for Beliefs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beliefs").finish_non_exhaustive()
    }
}
