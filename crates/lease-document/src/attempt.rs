//! One operation on one name: reads and conditional writes, with the memory of its own writes.

use std::time::Duration;

use lease_core::{Error, ErrorKind, LeaseName, Moment, Result};

use crate::{
    Documents, Version, error::Context, known::Own, left::Left, record::Record, seen::Seen, shared::Shared,
    store_clock::DRIFT,
};

/// How often an operation reads before it gives up.
const ROUNDS: usize = 16;
/// The pause behind a stale read, and that much more behind each further one: what answered is behind, and needs a moment.
const BEHIND: Duration = Duration::from_millis(4);

/// An operation. After every conflict and every unknown outcome it reads before it concludes anything: a conflict may be its own
/// write, repeated by a driver. It never ends with `Unavailable` while a write of its own may still be done (S15, S19).
#[derive(Debug)]
pub(crate) struct Attempt<'a, D> {
    shared: &'a Shared<D>,
    context: Context<'a>,
    rounds: usize,
    /// The writes of this operation whose outcome was a conflict or unknown.
    writes: Vec<(Moment, Record)>,
    /// The version on which a write of unknown outcome was conditional, and its error. No read has shown another version yet.
    unresolved: Option<(Option<Version>, Error)>,
}

/// What a read has shown.
#[derive(Debug)]
pub(crate) enum Look {
    /// There is no document.
    Absent,
    /// A record.
    Found(Seen),
    /// A record that this operation wrote itself: the write whose outcome was unknown was done.
    Written(Seen),
}

/// From when and until when a write makes a name taken.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// For as long as the record lasts, from now on.
    FromNow,
    /// As long, and at least until the end that is written already (S7).
    NotShorter,
    /// Until the end that is written already.
    AsBefore,
}

impl<'a, D: Documents> Attempt<'a, D> {
    pub(crate) fn new(shared: &'a Shared<D>, operation: &'static str, name: &'a LeaseName) -> Self {
        let context = shared.context(operation, name);
        Self { shared, context, rounds: 0, writes: Vec::new(), unresolved: None }
    }

    /// Reads the document.
    pub(crate) async fn look(&mut self) -> Result<Look> {
        loop {
            self.rounds += 1;
            if self.rounds > ROUNDS {
                return Err(self.conclude(self.context.crowded(ROUNDS)));
            }
            let sent = self.shared.now();
            let looked = match self.shared.documents.get(self.context.name).await {
                Ok(looked) => looked,
                Err(error) => return Err(self.conclude(unchanged(error, self.context))),
            };
            if let Err(error) = self.shared.hear(sent, looked.clock).await {
                return Err(self.conclude(unchanged(error, self.context)));
            }
            let version = looked.document.as_ref().map(|document| &document.version);
            if version
                .is_some_and(|version| self.shared.known().is_stale(self.context.name, version, self.shared.now()))
            {
                let behind = BEHIND * u32::try_from(self.rounds).unwrap_or(u32::MAX);
                self.shared.clock.sleep_until(self.shared.now() + behind).await;
                continue;
            }
            // A write that was conditional on another version can no longer be done.
            self.unresolved.take_if(|(expected, _)| expected.as_ref() != version);
            let Some(document) = looked.document else {
                self.shared.known().remove(self.context.name);
                return Ok(Look::Absent);
            };
            let seen = self.shared.see(self.context, document, Duration::ZERO).map_err(|error| self.conclude(error))?;
            let is_written = |record: &Record| seen.foreign.is_none() && record.write == seen.record.write;
            let written = self.writes.iter().find(|(_, record)| is_written(record));
            return Ok(match written {
                Some((began, record)) => Look::Written(self.wrote(*began, record.clone(), seen.version)),
                None => Look::Found(seen),
            });
        }
    }

    /// Writes the record on condition of a version. Returns `None` if the document must be read first: after a conflict, and where
    /// the outcome is unknown.
    pub(crate) async fn write(
        &mut self,
        mut record: Record,
        expected: Option<&Version>,
        until: Until,
    ) -> Result<Option<Seen>> {
        let began = self.shared.now();
        // The latest time that it can be: nobody else sees the end before the holder, however long the request takes (S1).
        let store_time = self.shared.store_time();
        record.set_until(store_time.and_then(|time| {
            let from_now = time.latest.saturating_add(record.lasts());
            match until {
                Until::FromNow => Some(from_now),
                Until::NotShorter => Some(record.until().map_or(from_now, |before| before.max(from_now))),
                Until::AsBefore => record.until().or(Some(from_now)),
            }
        }));
        self.shared.note_lease(&record);
        let bytes = record.next_bytes().map_err(|error| self.conclude(self.context.not_serialized(error)))?;
        match self.shared.documents.put_if(self.context.name, bytes, expected).await {
            Ok(put) => {
                // An answer that has come is no reason to ask for the clock.
                if let Some(sample) = put.clock {
                    self.shared.learn(began, sample);
                }
                if let Some(version) = put.version {
                    // Whatever else was conditional on the version before can no longer be done.
                    self.unresolved = None;
                    let seen = self.wrote(began, record, version);
                    // An end that was written before is nobody's promise from now on.
                    if !matches!(until, Until::AsBefore) && self.is_too_short(&seen.record, began) {
                        return Box::pin(self.write(seen.record, Some(&seen.version), Until::NotShorter)).await;
                    }
                    return Ok(Some(seen));
                }
                self.shared.known().forget_own(self.context.name);
                self.writes.push((began, record));
                Ok(None)
            }
            Err(error) if error.kind() == ErrorKind::Indeterminate => {
                self.shared.known().forget_own(self.context.name);
                self.writes.push((began, record));
                self.unresolved = Some((expected.cloned(), error));
                Ok(None)
            }
            Err(error) => Err(self.conclude(error)),
        }
    }

    /// Returns whether the answer to a write has shown that the store's clock is ahead of what was known when it began, as after a
    /// jump. The end that was written is then earlier for others than for the holder, and must be written again.
    fn is_too_short(&self, record: &Record, began: Moment) -> bool {
        let (Some(until), Some(time)) = (record.until(), self.shared.store_time()) else { return false };
        if record.lasts().is_zero() {
            return false;
        }
        let taken = self.shared.now().saturating_since(began).mul_f64(1.0 + DRIFT);
        let needed = time.latest.saturating_sub(taken).saturating_add(record.lasts());
        // Servers may disagree by twice the slack.
        needed > until.saturating_add(self.shared.slack() * 2)
    }

    fn wrote(&self, began: Moment, record: Record, version: Version) -> Seen {
        let own = Own { began, answered: self.shared.now(), record: record.clone(), version: version.clone() };
        self.shared.known().wrote(self.context.name, own);
        // The backend may tell of it later. Without push, clients hint to their own waiters.
        if self.shared.capabilities.push && record.is_news() {
            self.shared.wakeups.wake(self.context.name);
        }
        let lasts = record.lasts();
        let left = Left { at_least: lasts, at_most: lasts, is_spent: false };
        Seen { record, version, left, foreign: None }
    }

    pub(crate) fn context(&self) -> Context<'a> {
        self.context
    }

    /// Returns this outcome, which is that nothing was found to change. While a write of this operation may still be done, the
    /// outcome is unknown.
    pub(crate) fn nothing_pending<T>(&self, outcome: T) -> Result<T> {
        match &self.unresolved {
            Some((_, cause)) => Err(self.context.indeterminate(cause)),
            None => Ok(outcome),
        }
    }

    /// Returns the error with which this operation ends: unknown, if a write of its own may still be done.
    pub(crate) fn conclude(&self, error: Error) -> Error {
        match &self.unresolved {
            Some((_, cause)) => self.context.indeterminate(cause),
            None => error,
        }
    }
}

/// A read changes nothing: a read of unknown outcome is one that failed.
fn unchanged(error: Error, context: Context<'_>) -> Error {
    if error.kind() != ErrorKind::Indeterminate {
        return error;
    }
    let message = format!("the document of lease {} could not be read: {error}; try again", context.name);
    context.error(ErrorKind::Unavailable, message).with_source(error)
}
