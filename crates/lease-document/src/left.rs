//! How much is left of a record: two answers, one for its holder and one for everybody else.

use std::time::Duration;

use lease_core::Moment;

use crate::{
    known::Own,
    record::Record,
    store_clock::{DRIFT, StoreTime},
};

/// What is left of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// Its holder may rely on this much, counted from now or earlier.
    pub(crate) at_least: Duration,
    /// Nobody else may take over before this much has passed.
    pub(crate) at_most: Duration,
    /// This process wrote the record, and what its holder was told has passed.
    pub(crate) is_spent: bool,
}

impl Left {
    pub(crate) const NOTHING: Self = Self { at_least: Duration::ZERO, at_most: Duration::ZERO, is_spent: false };

    /// Judges by watching, for how long is left of what lasts so long from a moment on (S2).
    pub(crate) fn watched(lasts: Duration, since: Moment, now: Moment) -> Self {
        if lasts.is_zero() {
            return Self::NOTHING;
        }
        let at_most = watched_for(lasts).saturating_sub(now.saturating_since(since));
        Self { at_least: Duration::ZERO, at_most, is_spent: false }
    }

    /// Judges a record that has been observed since a moment, by the store's clock, or else by watching (S2, S3).
    pub(crate) fn of(
        record: &Record,
        since: Moment,
        own: Option<&Own>,
        store_time: Option<StoreTime>,
        now: Moment,
    ) -> Self {
        let lasts = record.lasts();
        if lasts.is_zero() {
            return Self::NOTHING;
        }
        let mut left = match (store_time, record.until()) {
            (Some(time), Some(until)) => Self {
                at_least: until.saturating_sub(time.latest).min(lasts),
                at_most: until.saturating_sub(time.earliest),
                is_spent: false,
            },
            _ => Self::watched(lasts, since, now),
        };
        if let Some(own) = own {
            left.at_least = left.at_least.max(left_by_heart(own, now));
            left.is_spent = left.at_least.is_zero();
        }
        left
    }
}

/// What its holder may rely on of a record that this process wrote. The time since then is measured by the own clock, with its
/// error, because the holder allows for it from now on only (S1).
pub(crate) fn left_by_heart(own: &Own, now: Moment) -> Duration {
    own.record.lasts().saturating_sub(now.saturating_since(own.began).mul_f64(1.0 + DRIFT))
}

/// For how long a record must be observed unchanged before anybody may take over (S2).
pub(crate) fn watched_for(lasts: Duration) -> Duration {
    let margin = Duration::from_millis(50).max(lasts / 100).min(lasts / 4);
    lasts.mul_f64(1.0 + DRIFT).saturating_add(margin)
}
