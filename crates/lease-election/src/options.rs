//! The options of elections and candidates.

use std::time::Duration;

use lease_core::{Capabilities, Error, ErrorKind, HolderId, InvalidOptions, LeaseOptions, Metadata};
use serde::{Deserialize, Serialize};

/// The options of an election. All candidates of a group should have the same options.
///
/// They can be read with serde, with durations like `"15s"`. [`Election::new`](crate::Election::new) checks them against the
/// store (S23).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ElectionOptions {
    /// The ttl of the leader's lease: the time without a leader after a crash. Default: 15 seconds.
    #[serde(with = "humantime_serde")]
    pub lease_duration: Duration,
    /// The time between two renewals. Default: 5 seconds.
    #[serde(with = "humantime_serde")]
    pub renew_interval: Duration,
    /// The pause after a step-down or an error, and the minimum time between two writes of a candidate's health; with jitter.
    /// For twice this time, a hand-over reserves the leadership for its candidate. Default: 2 seconds.
    #[serde(with = "humantime_serde")]
    pub retry_interval: Duration,
    /// The time that the work of a leader has to end by itself before it is dropped. When renewals keep failing, draining
    /// begins this long before the deadline. Default: 5 seconds.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// The health, from 0 to 1, below which a candidate does not campaign. Default: 0.8.
    pub minimum_health: f64,
    /// How far above the minimum the health must rise before an unfit candidate campaigns again, so that it does not flap.
    /// Default: 0.1.
    pub health_hysteresis: f64,
    /// Whether a leader that becomes unhealthy steps down. Default: true.
    pub step_down_when_unhealthy: bool,
}

impl Default for ElectionOptions {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_interval: Duration::from_secs(5),
            retry_interval: Duration::from_secs(2),
            grace: Duration::from_secs(5),
            minimum_health: 0.8,
            health_hysteresis: 0.1,
            step_down_when_unhealthy: true,
        }
    }
}

impl ElectionOptions {
    /// Creates options with this lease duration, and with all other durations in proportion.
    #[must_use]
    pub fn new(lease_duration: Duration) -> Self {
        Self {
            lease_duration,
            renew_interval: lease_duration / 3,
            retry_interval: lease_duration / 15 * 2,
            grace: lease_duration / 3,
            ..Self::default()
        }
    }

    /// Sets [`ElectionOptions::renew_interval`].
    #[must_use]
    pub fn with_renew_interval(self, renew_interval: Duration) -> Self {
        Self { renew_interval, ..self }
    }

    /// Sets [`ElectionOptions::retry_interval`].
    #[must_use]
    pub fn with_retry_interval(self, retry_interval: Duration) -> Self {
        Self { retry_interval, ..self }
    }

    /// Sets [`ElectionOptions::grace`].
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Sets [`ElectionOptions::minimum_health`].
    #[must_use]
    pub fn with_minimum_health(self, minimum_health: f64) -> Self {
        Self { minimum_health, ..self }
    }

    /// Sets [`ElectionOptions::health_hysteresis`].
    #[must_use]
    pub fn with_health_hysteresis(self, health_hysteresis: f64) -> Self {
        Self { health_hysteresis, ..self }
    }

    /// Sets [`ElectionOptions::step_down_when_unhealthy`].
    #[must_use]
    pub fn with_step_down_when_unhealthy(self, step_down_when_unhealthy: bool) -> Self {
        Self { step_down_when_unhealthy, ..self }
    }

    /// Checks the options against what a store can do (S23).
    ///
    /// # Errors
    ///
    /// [`InvalidElection`] when the store cannot keep them, or they contradict each other. Its message says what to change.
    pub fn validate(&self, store: &Capabilities) -> Result<(), InvalidElection> {
        self.lease_options().validate(store)?;
        if !(0.0..=1.0).contains(&self.minimum_health) || !(0.0..=1.0).contains(&self.health_hysteresis) {
            return Err(InvalidElection::Health);
        }
        if self.retry_interval.is_zero() || self.retry_interval > store.max_ttl / 2 {
            return Err(InvalidElection::RetryInterval { longest: store.max_ttl / 2 });
        }
        let longest = self.lease_duration.saturating_sub(self.renew_interval).mul_f64(0.9);
        if self.grace > longest {
            return Err(InvalidElection::Grace { grace: self.grace, longest });
        }
        Ok(())
    }

    /// Returns the options of the leases of the election.
    pub(crate) fn lease_options(&self) -> LeaseOptions {
        LeaseOptions::new(self.lease_duration).with_renewal_interval(self.renew_interval)
    }
}

/// The reason why options of an election are invalid (S23).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidElection {
    /// The lease duration or the renew interval is invalid.
    #[error("invalid lease_duration or renew_interval: {0}")]
    Lease(#[from] InvalidOptions),
    /// The grace is so long that a leader would drain although its renewals are in time.
    #[error(
        "grace is {grace:?}, but a renewal may leave only {longest:?} before the deadline: shorten grace or renew_interval, or \
         raise lease_duration"
    )]
    Grace {
        /// The grace that was set.
        grace: Duration,
        /// The longest grace with these timings.
        longest: Duration,
    },
    /// The minimum health or the hysteresis is not from 0 to 1.
    #[error("minimum_health and health_hysteresis must be from 0 to 1")]
    Health,
    /// The retry interval is zero, or a hand-over could not reserve the leadership for twice as long.
    #[error("retry_interval must be longer than zero, and at most {longest:?}, half of the store's largest ttl")]
    RetryInterval {
        /// The longest retry interval with this store.
        longest: Duration,
    },
}

impl From<InvalidElection> for Error {
    fn from(error: InvalidElection) -> Self {
        Self::new(ErrorKind::Invalid, "election", error.to_string()).with_source(error)
    }
}

/// The options of a candidate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CandidateOptions {
    /// The id of the candidate, which must be unique in its group. Default: the holder id of the client.
    pub id: Option<HolderId>,
    /// Metadata that is published, such as an address, a version or a region. Default: none.
    pub metadata: Metadata,
    /// The priority. A leader hands over to a fit candidate of a higher priority, and keeps the leadership at equal priority.
    /// Default: 0.
    ///
    /// The leader checks for such a candidate about every [`ElectionOptions::renew_interval`].
    pub priority: i64,
    /// Whether the candidate waits for [`Candidate::start`](crate::Candidate::start), instead of campaigning at once.
    pub start_later: bool,
}

impl CandidateOptions {
    /// Creates the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`CandidateOptions::id`].
    #[must_use]
    pub fn with_id(self, id: HolderId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// Sets [`CandidateOptions::metadata`].
    #[must_use]
    pub fn with_metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// Sets [`CandidateOptions::priority`].
    #[must_use]
    pub fn with_priority(self, priority: i64) -> Self {
        Self { priority, ..self }
    }

    /// Sets [`CandidateOptions::start_later`] to true.
    #[must_use]
    pub fn with_start_later(self) -> Self {
        Self { start_later: true, ..self }
    }
}

#[cfg(test)]
mod tests {
    use lease_core::LeaseStore;
    use lease_memory::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn s23_a_retry_interval_that_cannot_be_kept_is_refused() {
        let store = MemoryStore::new().capabilities();
        for retry_interval in [Duration::ZERO, store.max_ttl, Duration::MAX] {
            let options = ElectionOptions { retry_interval, ..ElectionOptions::default() };
            let longest = store.max_ttl / 2;
            assert_eq!(options.validate(&store), Err(InvalidElection::RetryInterval { longest }));
        }
        assert!(ElectionOptions::new(Duration::MAX).validate(&store).is_err());
        assert_eq!(ElectionOptions::default().validate(&store), Ok(()));
    }
}
