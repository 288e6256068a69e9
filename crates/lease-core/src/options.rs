//! The options of a lease.

use std::time::Duration;

use crate::{Correlation, HolderId, Metadata, Retry};

/// The options of a lease: plain data, set in code or read from configuration.
///
/// Only the ttl is required. In configuration, durations are written like `"30s"` or `"1m 30s"`. The options are checked against
/// the store when a lease is requested (S23), or earlier by [`LeaseOptions::validate`].
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
    /// How long the lease lasts without a renewal. This is also how long the name stays blocked after its holder has crashed.
    /// Within the store's limits; 10 to 60 seconds suit most work.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub ttl: Duration,
    /// The holder id. Default: that of the client. Set it for parts of one process that are holders of their own, such as the
    /// candidates of an election. Callers with different holder ids wait independently of each other.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub holder: Option<HolderId>,
    /// How long `acquire` waits for a name that another holder has. The first attempt counts, but is not cut short. Default: no
    /// limit.
    #[cfg_attr(feature = "serde", serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none"))]
    pub wait_limit: Option<Duration>,
    /// How `acquire` goes on while the store fails: the pauses between failed attempts, and the number of failures in a row after
    /// which it returns the last error. Its `attempt_timeout` has no effect here; see [`LeaseOptions::attempt_timeout`]. Default:
    /// attempts at intervals of one attempt timeout, without a limit.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub retry: Option<Retry>,
    /// The metadata of the lease.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Metadata::is_empty"))]
    pub metadata: Metadata,
    /// The correlation id of the lease: it is in all spans and events of the lease, and in its metadata. A key `correlation` of
    /// `metadata` takes precedence there. Default: none.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub correlation: Option<Correlation>,
    /// The shortest time for which the name is blocked, counted from the grant, even if the lease is released before. It prevents
    /// that a job of 50 ms is run again by a replica whose clock is 300 ms behind. Default: zero. A crashed holder blocks the name
    /// for its ttl only.
    #[cfg_attr(feature = "serde", serde(default, with = "humantime_serde", skip_serializing_if = "Duration::is_zero"))]
    pub hold_at_least: Duration,
    /// The longest time for which the lease is held, counted from the grant, so that a stuck holder is not renewed for ever.
    /// Default: no limit.
    #[cfg_attr(feature = "serde", serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none"))]
    pub max_tenure: Option<Duration>,
    /// Whether the client renews the lease, or the application.
    #[cfg_attr(feature = "serde", serde(default))]
    pub renewal: Renewal,
    /// The time between two renewals. Default: a third of the ttl.
    #[cfg_attr(feature = "serde", serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none"))]
    pub renewal_interval: Option<Duration>,
    /// The timeout of one request. Default: a sixth of the ttl, at most 5 seconds.
    #[cfg_attr(feature = "serde", serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none"))]
    pub attempt_timeout: Option<Duration>,
    /// The largest relative error of this machine's clock rate against the store's. From 0 to below 0.5. Default: 0.01.
    #[cfg_attr(feature = "serde", serde(default = "default_clock_drift"))]
    pub clock_drift: f64,
    /// The safety margin: how much earlier than the store the holder considers the lease lost (S1). At most a quarter of the ttl.
    /// Default: 1 % of the ttl, at least 50 ms.
    #[cfg_attr(feature = "serde", serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none"))]
    pub margin: Option<Duration>,
    /// Whether a grant is pushed to watchers of the name. Default: no.
    #[cfg_attr(feature = "serde", serde(default))]
    pub announce: bool,
}

/// How a lease is renewed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Renewal {
    /// By the client, in the background.
    #[default]
    Automatic,
    /// By the application, with [`LeaseHandle::renew`](crate::LeaseHandle::renew).
    Manual,
}

const fn default_clock_drift() -> f64 {
    0.01
}

impl LeaseOptions {
    /// Creates options with this ttl, and defaults for everything else.
    #[must_use]
    pub const fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            holder: None,
            wait_limit: None,
            retry: None,
            metadata: Metadata::empty(),
            correlation: None,
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

    /// Sets the holder id; see [`LeaseOptions::holder`].
    #[must_use]
    pub fn with_holder(self, holder: HolderId) -> Self {
        Self { holder: Some(holder), ..self }
    }

    /// Sets how long to wait; see [`LeaseOptions::wait_limit`].
    #[must_use]
    pub fn with_wait_limit(self, wait_limit: Duration) -> Self {
        Self { wait_limit: Some(wait_limit), ..self }
    }

    /// Sets how to go on while the store fails; see [`LeaseOptions::retry`].
    #[must_use]
    pub fn with_retry(self, retry: Retry) -> Self {
        Self { retry: Some(retry), ..self }
    }

    /// Sets the metadata; see [`LeaseOptions::metadata`].
    #[must_use]
    pub fn with_metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// Sets the correlation id; see [`LeaseOptions::correlation`].
    #[must_use]
    pub fn with_correlation(self, correlation: Correlation) -> Self {
        Self { correlation: Some(correlation), ..self }
    }

    /// Sets the shortest time for which the name is blocked; see [`LeaseOptions::hold_at_least`].
    #[must_use]
    pub fn with_hold_at_least(self, hold_at_least: Duration) -> Self {
        Self { hold_at_least, ..self }
    }

    /// Sets the longest time for which the lease is held; see [`LeaseOptions::max_tenure`].
    #[must_use]
    pub fn with_max_tenure(self, max_tenure: Duration) -> Self {
        Self { max_tenure: Some(max_tenure), ..self }
    }

    /// Sets how the lease is renewed; see [`LeaseOptions::renewal`].
    #[must_use]
    pub fn with_renewal(self, renewal: Renewal) -> Self {
        Self { renewal, ..self }
    }

    /// Sets the time between two renewals; see [`LeaseOptions::renewal_interval`].
    #[must_use]
    pub fn with_renewal_interval(self, renewal_interval: Duration) -> Self {
        Self { renewal_interval: Some(renewal_interval), ..self }
    }

    /// Sets the timeout of one request; see [`LeaseOptions::attempt_timeout`].
    #[must_use]
    pub fn with_attempt_timeout(self, attempt_timeout: Duration) -> Self {
        Self { attempt_timeout: Some(attempt_timeout), ..self }
    }

    /// Sets the largest error of the clock's rate; see [`LeaseOptions::clock_drift`].
    #[must_use]
    pub fn with_clock_drift(self, clock_drift: f64) -> Self {
        Self { clock_drift, ..self }
    }

    /// Sets the safety margin; see [`LeaseOptions::margin`].
    #[must_use]
    pub fn with_margin(self, margin: Duration) -> Self {
        Self { margin: Some(margin), ..self }
    }

    /// Sets whether a grant is pushed to watchers; see [`LeaseOptions::announce`].
    #[must_use]
    pub fn with_announce(self, announce: bool) -> Self {
        Self { announce, ..self }
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

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
