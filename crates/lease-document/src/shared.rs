//! What all operations share: the backend, the clocks, and what this process knows.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lease_core::{Capabilities, Claim, Clock, ExpiryJudge, LeaseName, Moment, Result, Revocations, WakeupRegistry};

use crate::{
    About, Change, Document, Documents, Foreign, Sample, Version,
    changes::Listener,
    error::Context,
    known::{Known, Own},
    left::{Left, left_by_heart},
    record::{Phase, Record},
    seen::Seen,
    store_clock::{StoreClock, StoreTime},
};

/// Where answers do not carry the store's clock, it is asked for when what is known of it is older than this.
const CLOCK_AGE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Shared<D> {
    pub(crate) documents: D,
    pub(crate) about: About,
    pub(crate) capabilities: Capabilities,
    pub(crate) clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    store_clock: Mutex<StoreClock>,
    last_sample: Mutex<Option<Moment>>,
    pub(crate) wakeups: WakeupRegistry,
    pub(crate) revocations: Revocations,
}

impl<D: Documents> Shared<D> {
    pub(crate) fn new(documents: D, about: About, capabilities: Capabilities, clock: Arc<dyn Clock>) -> Self {
        Self {
            documents,
            about,
            capabilities,
            clock,
            known: Mutex::default(),
            store_clock: Mutex::default(),
            last_sample: Mutex::default(),
            wakeups: WakeupRegistry::default(),
            revocations: Revocations::default(),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    pub(crate) fn context<'a>(&self, operation: &'static str, name: &'a LeaseName) -> Context<'a> {
        Context { store: self.capabilities.store, operation, name }
    }

    /// Returns what the store's clock can show now, or `None` if it is unknown or not believed (S2).
    pub(crate) fn store_time(&self) -> Option<StoreTime> {
        if self.capabilities.expiry_judge == ExpiryJudge::Contenders {
            return None;
        }
        Some(lock(&self.store_clock).now(self.now())?.widened(self.slack()))
    }

    /// Returns how far the clock of each server may be from the middle of all.
    pub(crate) fn slack(&self) -> Duration {
        match self.capabilities.expiry_judge {
            ExpiryJudge::ServersWallClocks { slack } => slack,
            _ => Duration::ZERO,
        }
    }

    /// Learns of the store's clock from an answer that has just come. Without it, asks for the clock, if it was not heard of for long.
    pub(crate) async fn hear(&self, sent: Moment, sample: Option<Sample>) -> Result<()> {
        if let Some(sample) = sample {
            self.learn(sent, sample);
            return Ok(());
        }
        let now = self.now();
        let is_recent = lock(&self.last_sample).is_some_and(|at| now.saturating_since(at) < CLOCK_AGE);
        if is_recent || self.capabilities.expiry_judge == ExpiryJudge::Contenders {
            return Ok(());
        }
        let sent = self.now();
        match self.documents.clock().await {
            Ok(Some(sample)) => self.learn(sent, sample),
            Ok(None) => *lock(&self.last_sample) = Some(self.now()),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    pub(crate) fn learn(&self, sent: Moment, sample: Sample) {
        let received = self.now();
        *lock(&self.last_sample) = Some(received);
        let contradiction = lock(&self.store_clock).learn(sent, received, sample);
        if let Some(width) = contradiction
            && width > self.slack() * 2
        {
            tracing::warn!(
                target: "lease",
                store = self.capabilities.store,
                width_ms = u64::try_from(width.as_millis()).unwrap_or(u64::MAX),
                "the store's clock has jumped, or its servers disagree: leases are taken over later until it is certain again"
            );
        }
    }

    /// Notes for how long a lease lasts that was written or read.
    pub(crate) fn note_lease(&self, record: &Record) {
        lock(&self.store_clock).note_lease(record.lasts());
    }

    /// Returns the record of a document that a read has just returned. It is kept in mind for `keep` longer than it lasts.
    pub(crate) fn see(&self, context: Context<'_>, document: Document, keep: Duration) -> Result<Seen> {
        let Document { value, version, has_dead_holder, foreign } = document;
        let record = if foreign.is_some() && value.is_empty() {
            Record::none(context.name)
        } else {
            Record::parse(&value).map_err(|error| context.not_a_record(error))?
        };
        if record.name != context.name.as_str() {
            return Err(context.foreign_name(&record.name));
        }
        self.note_lease(&record);
        let (now, store_time) = (self.now(), self.store_time());
        let lasts = foreign.as_ref().map_or(record.lasts(), Foreign::lasts);
        let keep = lasts.saturating_add(keep);
        let (since, own) = self.known().observe(context.name, &version, keep, now);
        let left = match foreign {
            Some(_) => Left::watched(lasts, since, now),
            None if has_dead_holder => Left::NOTHING,
            None => Left::of(&record, since, own.as_ref(), store_time, now),
        };
        Ok(Seen { record, version, left, foreign })
    }

    /// Returns for how long this process has observed this version of a name.
    pub(crate) fn observed_for(&self, name: &LeaseName, version: &Version) -> Duration {
        let now = self.now();
        let (since, _) = self.known().observe(name, version, Duration::ZERO, now);
        now.saturating_since(since)
    }

    /// Returns the grant of a claim that this process wrote itself, if it is in force for certain. It costs no request.
    pub(crate) fn by_heart(&self, claim: &Claim) -> Option<(Own, Seen)> {
        let own = self.known().own(&claim.name)?;
        let (now, store_time) = (self.now(), self.store_time());
        let at_least = left_by_heart(&own, now);
        let left = Left::of(&own.record, own.answered, Some(&own), store_time, now);
        let is_in_force = !at_least.is_zero() && !left.at_most.is_zero();
        let is_own = own.record.belongs_to(&claim.holder, claim.grant);
        (is_own && is_in_force).then(|| {
            let seen = Seen { record: own.record.clone(), version: own.version.clone(), left, foreign: None };
            (own, seen)
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<D: Documents> Listener for Shared<D> {
    fn changed(&self, name: &LeaseName, change: Change<'_>) {
        let record = match change {
            Change::Written(value) => Record::parse(value).ok(),
            Change::Foreign(_) | Change::Deleted | Change::Unknown => None,
        };
        let own = self.known().own(name);
        if let (Some(own), Some(record)) = (&own, &record)
            && (record.write == own.record.write || record.token_in(None) < own.record.token_in(own.version.number))
        {
            // The own write, of which this process has heard already, or one before it, as the release of the last grant.
            return;
        }
        let is_unchanged = |own: &Own| {
            record.as_ref().is_some_and(|record| record.is_same_grant(&own.record) && record.phase == Phase::Held)
        };
        // A grant of this process may have ended early, unless nothing shows it.
        if let Some(own) = own.filter(|own| change != Change::Unknown && !is_unchanged(own)) {
            let left = Left::NOTHING;
            let seen = Seen { record: own.record, version: own.version, left, foreign: None };
            self.revocations.notify(name, seen.fencing_token());
        }
        let is_news = match change {
            Change::Foreign(foreign) => *foreign == Foreign::Free,
            _ => record.is_none_or(|record| record.is_news()),
        };
        if is_news {
            self.wakeups.wake(name);
        }
    }

    fn connected(&self) {
        self.wakeups.wake_all();
    }

    fn wrote(&self, name: &LeaseName) -> bool {
        self.known().own(name).is_some()
    }
}
