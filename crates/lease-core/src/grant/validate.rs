//! Checks the options of a lease against what its store can do.

use std::time::Duration;

use crate::{Capabilities, Error, ErrorKind, LeaseOptions, Renewal, grant::schedule::Schedule};

impl LeaseOptions {
    /// Checks the options against the capabilities of a store (S23).
    ///
    /// # Errors
    ///
    /// [`InvalidOptions`], whose message says what to change.
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

/// The error of options that a store cannot satisfy (S23).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOptions {
    /// The store cannot grant this ttl.
    #[error("a ttl of {ttl:?} is outside the limits of {store}, which are {min:?} and {max:?}: choose one in between")]
    Ttl {
        /// The value that was set.
        ttl: Duration,
        /// The store's smallest ttl.
        min: Duration,
        /// The store's largest ttl.
        max: Duration,
        /// The store's name.
        store: &'static str,
    },
    /// The store cannot block a name for this long.
    #[error("hold_at_least of {hold_at_least:?} is longer than the store's largest ttl, {max:?}: shorten it")]
    HoldAtLeast {
        /// The value that was set.
        hold_at_least: Duration,
        /// The store's largest ttl.
        max: Duration,
    },
    /// A duration is zero that must be longer.
    #[error("{option} must be longer than zero: leave it out for the default")]
    Zero {
        /// The option's name.
        option: &'static str,
    },
    /// The clock drift is out of range.
    #[error("clock_drift is a fraction from 0 to below 0.5, not {clock_drift}: 0.01 stands for 1 %")]
    ClockDrift {
        /// The value that was set.
        clock_drift: f64,
    },
    /// The margin is too large.
    #[error("margin must not be more than a quarter of the ttl, {max:?}: lower it, or raise the ttl")]
    Margin {
        /// The largest margin with this ttl.
        max: Duration,
    },
    /// The timings leave no time for a second attempt: one failed renewal would lose the lease.
    #[error(
        "a renewal every {interval:?} with a timeout of {timeout:?} leaves no time for a second attempt in the {validity:?} for \
         which a grant is valid: shorten renewal_interval or attempt_timeout, or raise the ttl"
    )]
    TooTight {
        /// The time between two renewals.
        interval: Duration,
        /// The timeout of one attempt.
        timeout: Duration,
        /// How long a grant is valid.
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
            (LeaseOptions::new(Duration::ZERO), "1s and 3600s"),
            (LeaseOptions::new(SECOND * 3601), "1s and 3600s"),
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
}
