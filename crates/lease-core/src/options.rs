//! What is wanted of a lease.

use std::time::Duration;

use crate::{Capabilities, Error, ErrorKind, HolderId, Metadata, schedule::Schedule};

/// What is wanted of a lease: plain data, to be written in code or read from configuration.
///
/// Only the ttl is required. Durations are read and written like `"30s"` or `"1m 30s"`. Everything is checked against the
/// store when a lease is asked for (S23), or before by [`LeaseOptions::validate`].
///
/// ```
/// use std::time::Duration;
/// use lease_core::LeaseOptions;
///
/// let options = LeaseOptions::new(Duration::from_secs(30)).with_wait_limit(Duration::from_secs(10));
/// let read: LeaseOptions = serde_json::from_str(r#"{ "ttl": "30s", "wait_limit": "10s" }"#)?;
/// assert_eq!(read, options);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct LeaseOptions {
    /// How long the lease lasts without a renewal; how long the name stays blocked after a crash of its holder. Within the
    /// store's limits; 10 to 60 seconds suit most work.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub ttl: Duration,
    /// Who holds it. Default: the client's holder id. For several parts of one process that are different to others, as the
    /// candidates of an election are; each of them waits in a line of its own.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub holder: Option<HolderId>,
    /// How long `acquire` waits for a name that somebody else holds, the first attempt included, which is not cut short. Default:
    /// for ever.
    #[cfg_attr(feature = "serde", serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none"))]
    pub wait_limit: Option<Duration>,
    /// What anybody may read of the holder.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Metadata::is_empty"))]
    pub metadata: Metadata,
    /// How long the name stays blocked at least, counted from the grant, even if the lease is released before: so that a
    /// job of 50 ms is not run again by a replica whose clock is 300 ms behind. Default: zero. A crashed holder blocks
    /// the name for its ttl only.
    #[cfg_attr(feature = "serde", serde(default, with = "humantime_serde", skip_serializing_if = "Duration::is_zero"))]
    pub hold_at_least: Duration,
    /// How long the lease is held at most, counted from the grant: a stuck holder is not renewed for ever. Default: no end.
    #[cfg_attr(feature = "serde", serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none"))]
    pub max_tenure: Option<Duration>,
    /// Who renews.
    #[cfg_attr(feature = "serde", serde(default))]
    pub renewal: Renewal,
    /// The time between two renewals. Default: a third of the ttl.
    #[cfg_attr(feature = "serde", serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none"))]
    pub renewal_interval: Option<Duration>,
    /// How long one request waits for the store's answer. Default: a sixth of the ttl, at most 5 seconds.
    #[cfg_attr(feature = "serde", serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none"))]
    pub attempt_timeout: Option<Duration>,
    /// The largest relative error of this machine's clock rate against the store's. From 0 to below 0.5, default 0.01.
    #[cfg_attr(feature = "serde", serde(default = "default_clock_drift"))]
    pub clock_drift: f64,
    /// How much earlier than the store the holder considers the lease lost (S1). At most a quarter of the ttl. Default: 1 %
    /// of the ttl, at least 50 ms.
    #[cfg_attr(feature = "serde", serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none"))]
    pub margin: Option<Duration>,
    /// Whether a grant is announced by push to those who watch the name. Default: no.
    #[cfg_attr(feature = "serde", serde(default))]
    pub announce: bool,
}

/// Who renews a lease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Renewal {
    /// The client, in the background.
    #[default]
    Automatic,
    /// The application, by [`LeaseHandle::renew`](crate::LeaseHandle::renew).
    Manual,
}

const fn default_clock_drift() -> f64 {
    0.01
}

impl LeaseOptions {
    /// The defaults, with this ttl.
    #[must_use]
    pub const fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            holder: None,
            wait_limit: None,
            metadata: Metadata::empty(),
            hold_at_least: Duration::ZERO,
            max_tenure: None,
            renewal: Renewal::Automatic,
            renewal_interval: None,
            attempt_timeout: None,
            clock_drift: default_clock_drift(),
            margin: None,
            announce: false,
        }
    }

    /// With this holder instead of the client's.
    #[must_use]
    pub fn with_holder(self, holder: HolderId) -> Self {
        Self { holder: Some(holder), ..self }
    }

    /// With a limit to waiting; see [`LeaseOptions::wait_limit`].
    #[must_use]
    pub fn with_wait_limit(self, wait_limit: Duration) -> Self {
        Self { wait_limit: Some(wait_limit), ..self }
    }

    /// With metadata that anybody can read.
    #[must_use]
    pub fn with_metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// With a shortest time for which the name is blocked; see [`LeaseOptions::hold_at_least`].
    #[must_use]
    pub fn with_hold_at_least(self, hold_at_least: Duration) -> Self {
        Self { hold_at_least, ..self }
    }

    /// With a longest time for which the lease is held; see [`LeaseOptions::max_tenure`].
    #[must_use]
    pub fn with_max_tenure(self, max_tenure: Duration) -> Self {
        Self { max_tenure: Some(max_tenure), ..self }
    }

    /// With renewal in the background or by hand.
    #[must_use]
    pub fn with_renewal(self, renewal: Renewal) -> Self {
        Self { renewal, ..self }
    }

    /// With this time between two renewals.
    #[must_use]
    pub fn with_renewal_interval(self, renewal_interval: Duration) -> Self {
        Self { renewal_interval: Some(renewal_interval), ..self }
    }

    /// With this time for one request.
    #[must_use]
    pub fn with_attempt_timeout(self, attempt_timeout: Duration) -> Self {
        Self { attempt_timeout: Some(attempt_timeout), ..self }
    }

    /// With this assumed error of the clock's rate.
    #[must_use]
    pub fn with_clock_drift(self, clock_drift: f64) -> Self {
        Self { clock_drift, ..self }
    }

    /// With this fixed safety margin.
    #[must_use]
    pub fn with_margin(self, margin: Duration) -> Self {
        Self { margin: Some(margin), ..self }
    }

    /// With or without an announcement of the grant.
    #[must_use]
    pub fn with_announce(self, announce: bool) -> Self {
        Self { announce, ..self }
    }

    /// Checks the options against what a store can do (S23).
    ///
    /// # Errors
    ///
    /// [`InvalidOptions`], which says what to change.
    pub fn validate(&self, store: &Capabilities) -> Result<(), InvalidOptions> {
        let schedule = Schedule::new(self);
        let (min_ttl, max_ttl) = (store.min_ttl, store.max_ttl);
        if self.ttl < min_ttl || self.ttl > max_ttl {
            return Err(InvalidOptions::Ttl { ttl: self.ttl, min: min_ttl, max: max_ttl, store: store.store });
        }
        if self.hold_at_least > max_ttl {
            return Err(InvalidOptions::HoldAtLeast { hold_at_least: self.hold_at_least, max: max_ttl });
        }
        if self.max_tenure.is_some_and(|tenure| tenure.is_zero()) {
            return Err(InvalidOptions::Zero { option: "max_tenure" });
        }
        let (interval, timeout) = (schedule.interval, schedule.attempt_timeout);
        if timeout.is_zero() {
            return Err(InvalidOptions::Zero { option: "attempt_timeout" });
        }
        if interval.is_zero() {
            return Err(InvalidOptions::Zero { option: "renewal_interval" });
        }
        if !(0.0..0.5).contains(&self.clock_drift) {
            return Err(InvalidOptions::ClockDrift { clock_drift: self.clock_drift });
        }
        if self.margin.is_some_and(|margin| margin > self.ttl / 4) {
            return Err(InvalidOptions::Margin { max: self.ttl / 4 });
        }
        let validity = schedule.validity(self.ttl);
        if self.renewal == Renewal::Automatic && interval.saturating_add(timeout.saturating_mul(2)) > validity {
            return Err(InvalidOptions::TooTight { interval, timeout, validity });
        }
        Ok(())
    }
}

impl From<Duration> for LeaseOptions {
    fn from(ttl: Duration) -> Self {
        Self::new(ttl)
    }
}

impl From<&LeaseOptions> for LeaseOptions {
    fn from(options: &LeaseOptions) -> Self {
        options.clone()
    }
}

/// Why options cannot be kept (S23).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOptions {
    /// The store cannot grant this ttl.
    #[error(
        "a ttl of {ttl:?} cannot be kept by {store}, whose leases last from {min:?} to {max:?}: choose one in between"
    )]
    Ttl {
        /// What was asked for.
        ttl: Duration,
        /// The store's smallest.
        min: Duration,
        /// The store's largest.
        max: Duration,
        /// The store's name.
        store: &'static str,
    },
    /// The store cannot block a name for so long.
    #[error("hold_at_least of {hold_at_least:?} is longer than the store's largest ttl, {max:?}: shorten it")]
    HoldAtLeast {
        /// What was asked for.
        hold_at_least: Duration,
        /// The store's largest ttl.
        max: Duration,
    },
    /// It must be longer than zero.
    #[error("{option} must be longer than zero: leave it out for the default")]
    Zero {
        /// The option's name.
        option: &'static str,
    },
    /// The clock drift is out of range.
    #[error("clock_drift is a fraction from 0 to below 0.5, not {clock_drift}: 0.01 stands for 1 %")]
    ClockDrift {
        /// What was asked for.
        clock_drift: f64,
    },
    /// The margin is too large.
    #[error("margin must not be more than a quarter of the ttl, {max:?}: lower it, or raise the ttl")]
    Margin {
        /// The largest margin with this ttl.
        max: Duration,
    },
    /// One failed renewal would lose the lease.
    #[error(
        "a renewal every {interval:?} and {timeout:?} for an attempt leave no time for a second attempt in the {validity:?} for \
         which a grant can be relied on: shorten renewal_interval or attempt_timeout, or raise the ttl"
    )]
    TooTight {
        /// The time between two renewals.
        interval: Duration,
        /// The time for one attempt.
        timeout: Duration,
        /// How long a grant can be relied on.
        validity: Duration,
    },
}

impl From<InvalidOptions> for Error {
    fn from(error: InvalidOptions) -> Self {
        Self::new(ErrorKind::Invalid, "options", error.to_string()).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn store() -> Capabilities {
        Capabilities::new("test").with_ttl(SECOND, SECOND * 3600, SECOND)
    }

    #[test]
    fn s23_timings_are_checked_when_they_are_set() {
        let good = LeaseOptions::new(SECOND * 30);
        let table = [
            (good.clone(), ""),
            (LeaseOptions::new(SECOND), ""),
            (LeaseOptions::new(Duration::ZERO), "from 1s to 3600s"),
            (LeaseOptions::new(SECOND * 3601), "from 1s to 3600s"),
            (good.clone().with_hold_at_least(SECOND * 3601), "shorten it"),
            (good.clone().with_max_tenure(Duration::ZERO), "max_tenure must be longer than zero"),
            (good.clone().with_attempt_timeout(Duration::ZERO), "attempt_timeout must be longer than zero"),
            (good.clone().with_renewal_interval(Duration::ZERO), "renewal_interval must be longer than zero"),
            (good.clone().with_clock_drift(0.5), "fraction"),
            (good.clone().with_clock_drift(-0.1), "fraction"),
            (good.clone().with_clock_drift(f64::NAN), "fraction"),
            (good.clone().with_margin(SECOND * 8), "quarter of the ttl, 7.5s"),
            (good.clone().with_margin(SECOND * 7), ""),
            (good.clone().with_renewal_interval(SECOND * 20), "second attempt"),
            (good.clone().with_attempt_timeout(SECOND * 10), "second attempt"),
            (good.clone().with_clock_drift(0.49), "second attempt"),
            (good.clone().with_attempt_timeout(SECOND * 40).with_renewal(Renewal::Manual), ""),
        ];
        for (options, expected) in table {
            let outcome = options.validate(&store()).map_or_else(|error| error.to_string(), |()| String::new());
            assert!(outcome.contains(expected) && outcome.is_empty() == expected.is_empty(), "{options:?}: {outcome}");
        }
    }

    #[test]
    fn defaults_always_leave_two_attempts() {
        let mut ttl = SECOND;
        while ttl <= store().max_ttl {
            assert_eq!(LeaseOptions::new(ttl).validate(&store()), Ok(()), "{ttl:?}");
            ttl = ttl.mul_f64(1.1);
        }
    }

    #[test]
    fn are_plain_data() {
        let options = LeaseOptions::new(SECOND * 90).with_hold_at_least(SECOND * 60).with_renewal(Renewal::Manual);
        let text = serde_json::to_string(&options).unwrap();
        assert!(text.contains(r#""ttl":"1m 30s""#), "{text}");
        assert_eq!(serde_json::from_str::<LeaseOptions>(&text).unwrap(), options);
        assert!(serde_json::from_str::<LeaseOptions>(r#"{"ttl":"30s","tll":"1s"}"#).is_err());
        assert!(serde_json::from_str::<LeaseOptions>(r#"{"ttl":"thirty"}"#).is_err());
    }
}
