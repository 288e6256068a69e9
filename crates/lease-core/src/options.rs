//! What is wanted of a lease.

use std::time::Duration;

use crate::{HolderId, Metadata};

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
