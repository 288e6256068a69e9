//! How an election is held, and what a candidate brings.

use std::time::Duration;

use lease_core::{Capabilities, Error, ErrorKind, HolderId, InvalidOptions, LeaseOptions, Metadata};
use serde::{Deserialize, Serialize};

/// How an election is held. All candidates of a group should have the same options.
///
/// Plain data with the field's usual names and defaults; durations are read and written like `"15s"`. Checked against the
/// store when an [`Election`](crate::Election) is made (S23).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ElectionOptions {
    /// How long the group is without a leader after a crash, at the most. Default: 15 seconds.
    #[serde(with = "humantime_serde")]
    pub lease_duration: Duration,
    /// The time between two renewals. Default: 5 seconds.
    #[serde(with = "humantime_serde")]
    pub renew_interval: Duration,
    /// The pause after a step-down or after trouble, and between two looks at the other candidates; with jitter. Default: 2
    /// seconds.
    #[serde(with = "humantime_serde")]
    pub retry_interval: Duration,
    /// How long the work of a leader may take to end by itself before it is dropped. Draining begins this long before the
    /// deadline when renewals keep failing. Default: 5 seconds.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// The health, from 0 to 1, below which a candidate does not campaign. Default: 0.8.
    pub minimum_health: f64,
    /// How far above the minimum the health must rise again before the candidate campaigns again, so that it does not
    /// flap. Default: 0.1.
    pub health_hysteresis: f64,
    /// Whether a leader that becomes unhealthy steps down. Default: yes.
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
    /// The defaults, with this lease duration and all other durations in proportion.
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

    /// With this time between two renewals.
    #[must_use]
    pub fn with_renew_interval(self, renew_interval: Duration) -> Self {
        Self { renew_interval, ..self }
    }

    /// With this pause after a step-down or after trouble; see [`ElectionOptions::retry_interval`].
    #[must_use]
    pub fn with_retry_interval(self, retry_interval: Duration) -> Self {
        Self { retry_interval, ..self }
    }

    /// With this time for work to end by itself; see [`ElectionOptions::grace`].
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// With this health, from 0 to 1, below which a candidate does not campaign.
    #[must_use]
    pub fn with_minimum_health(self, minimum_health: f64) -> Self {
        Self { minimum_health, ..self }
    }

    /// With this distance from the minimum at which a candidate is healthy again; see
    /// [`ElectionOptions::health_hysteresis`].
    #[must_use]
    pub fn with_health_hysteresis(self, health_hysteresis: f64) -> Self {
        Self { health_hysteresis, ..self }
    }

    /// With or without a step-down of a leader that becomes unhealthy.
    #[must_use]
    pub fn with_step_down_when_unhealthy(self, step_down_when_unhealthy: bool) -> Self {
        Self { step_down_when_unhealthy, ..self }
    }

    /// Checks the options against what a store can do (S23).
    ///
    /// # Errors
    ///
    /// [`InvalidElection`], which says what to change.
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

    /// The options of the leases that the election rests on.
    pub(crate) fn lease_options(&self) -> LeaseOptions {
        LeaseOptions::new(self.lease_duration).with_renewal_interval(self.renew_interval)
    }
}

/// Why an election cannot be held like this (S23).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidElection {
    /// The lease duration or the renew interval cannot be kept.
    #[error("the lease of the leader: {0}")]
    Lease(#[from] InvalidOptions),
    /// A leader would have to drain although its renewals are in time.
    #[error(
        "grace is {grace:?}, but a renewal may leave only {longest:?} before the deadline: shorten grace or renew_interval, or \
         raise lease_duration"
    )]
    Grace {
        /// What was asked for.
        grace: Duration,
        /// The longest with these timings.
        longest: Duration,
    },
    /// It is no share.
    #[error("minimum_health and health_hysteresis are shares from 0 to 1")]
    Health,
    /// Candidates would spin, or a name could not be reserved for twice as long at a hand-over.
    #[error("retry_interval must be longer than zero, and at most {longest:?}, half of the store's largest ttl")]
    RetryInterval {
        /// The longest with this store.
        longest: Duration,
    },
}

impl From<InvalidElection> for Error {
    fn from(error: InvalidElection) -> Self {
        Self::new(ErrorKind::Invalid, "election", error.to_string()).with_source(error)
    }
}

/// What a candidate brings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CandidateOptions {
    /// Who it is to others. Default: the holder id of the client. Candidates of one group must differ in it.
    pub id: Option<HolderId>,
    /// What everybody may read of it: an address, a version, a region.
    pub metadata: Metadata,
    /// A better healthy candidate takes over by an orderly hand-over; ties stay with the leader. Default: 0.
    ///
    /// The leader looks for one about every [`ElectionOptions::renew_interval`].
    pub priority: i64,
    /// Whether it waits for [`Candidate::start`](crate::Candidate::start) rather than campaigning at once.
    pub start_later: bool,
}

impl CandidateOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With an id of its own.
    #[must_use]
    pub fn with_id(self, id: HolderId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// With metadata that everybody can read.
    #[must_use]
    pub fn with_metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// With this priority.
    #[must_use]
    pub fn with_priority(self, priority: i64) -> Self {
        Self { priority, ..self }
    }

    /// To be started by hand.
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
