//! The tenures of a worker, and their entries in the record.

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

/// The open tenures of a worker: at most one for each name. Observes the client's renewals. Clones share them.
#[derive(Clone)]
pub(crate) struct Tenures {
    log: Log,
    /// Converts a moment of the client's clock to the clock of the record.
    on_host: fn(Moment) -> Moment,
    open: Arc<Mutex<HashMap<String, OpenTenure>>>,
}

struct OpenTenure {
    handle: LeaseHandle,
    /// The last deadline in the record. A lost lease does not return it any more.
    deadline: u64,
}

/// The time in which a worker considers itself the holder of a grant. If it is dropped before its end, as when the library drops
/// the work of a scope, it ends with a loss.
pub(crate) struct Tenure {
    tenures: Tenures,
    name: String,
    token: u64,
    has_ended: bool,
}

impl Tenures {
    pub(crate) fn new(log: Log, on_host: fn(Moment) -> Moment) -> Self {
        Self { log, on_host, open: Arc::default() }
    }

    /// Begins the tenure of a lease that was granted just now.
    pub(crate) fn begin(&self, attempt: u64, handle: LeaseHandle) -> Tenure {
        let (at, name, token) = (now(), handle.name().to_string(), handle.token().get());
        // The tenure of a lease that is lost already has no length.
        let deadline = self.deadline(&handle).unwrap_or(at);
        self.open().insert(name.clone(), OpenTenure { handle, deadline });
        self.log.write_at(at, Event::Granted { name: name.clone(), attempt, token, until: deadline });
        Tenure { tenures: self.clone(), name, token, has_ended: false }
    }

    /// Returns the local deadline of a lease, or `None` if the lease is lost.
    fn deadline(&self, handle: &LeaseHandle) -> Option<u64> {
        let deadline = handle.valid_until();
        let is_lost = deadline == Moment::from_origin(Duration::ZERO);
        (!is_lost).then(|| nanoseconds((self.on_host)(deadline).since_origin()))
    }

    /// Records the deadline of a lease that is still held if it has moved without a renewal, because the client's clock has jumped.
    pub(crate) fn record_deadline(&self, lease: &LeaseHandle) {
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

    fn open(&self) -> MutexGuard<'_, HashMap<String, OpenTenure>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Tenures {
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

impl Tenure {
    /// Ends the tenure by a loss that was signalled just now.
    pub(crate) fn lost(&mut self, reason: &str) {
        let (at, reason) = (now(), reason.to_owned());
        let deadline = self.end();
        let (name, token) = (self.name.clone(), self.token);
        self.tenures.log.write_at(at, Event::Lost { name, token, reason, deadline });
    }

    /// Ends the tenure before a release.
    pub(crate) fn releasing(&mut self) {
        self.tenures.log.write(Event::Releasing { name: self.name.clone(), token: self.token });
        self.end();
    }

    /// Records the outcome of the release.
    pub(crate) fn released(&self, outcome: &Result<Released>) {
        let outcome = match outcome {
            Ok(Released::Freed) => "released".to_owned(),
            Ok(Released::NotHeld) => "not_held".to_owned(),
            Err(error) => error.to_string(),
            other => panic!("unexpected answer: {other:?}"),
        };
        self.tenures.log.write(Event::Released { name: self.name.clone(), token: self.token, outcome });
    }

    fn end(&mut self) -> u64 {
        self.has_ended = true;
        self.tenures.open().remove(&self.name).map_or(0, |grant| grant.deadline)
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        if !self.has_ended {
            self.lost("the work was dropped");
        }
    }
}

impl fmt::Debug for Tenures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenures").finish_non_exhaustive()
    }
}
