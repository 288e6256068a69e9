//! A retry policy: plain data, and the arithmetic of its delays.

use std::time::Duration;

use crate::random::Jitter;

/// How often an operation is attempted, and how long to wait in between: plain data, set in code or read from configuration.
///
/// The delay grows by a factor after each failed attempt, up to a limit. It is varied at random, so that many clients that failed
/// together do not retry together.
///
/// [`LeaseHandle::retry`](crate::LeaseHandle::retry) runs an operation by this policy while a lease is held.
/// [`LeaseOptions::retry`](crate::LeaseOptions::retry) applies it to waiting while the store fails.
///
/// | | attempts | first delay | largest delay |
/// |---|---|---|---|
/// | [`Retry::fast`] | 10 | 50 ms | 1 s |
/// | [`Retry::default`] | 50 | 100 ms | 10 s |
/// | [`Retry::conservative`] | 20 | 500 ms | 30 s |
///
/// ```
/// use std::time::Duration;
/// use lease_core::Retry;
///
/// let retry = Retry::fast().with_attempts(3).with_attempt_timeout(Duration::from_secs(2));
/// assert_eq!(retry.with_jitter(0.0).delay(2, 7), Duration::from_millis(100));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Retry {
    /// The largest number of attempts, the first one included. Zero counts as one. Default: 50.
    pub attempts: u32,
    /// The delay after the first failed attempt. Default: 100 ms.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub first_delay: Duration,
    /// The largest delay, before jitter. Default: 10 s.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub max_delay: Duration,
    /// The factor by which the delay grows after each failed attempt. Values below 1 count as 1. Default: 2.
    pub multiplier: f64,
    /// The largest part by which a delay is lengthened or shortened at random, from 0 to 1. Default: 0.25.
    pub jitter: f64,
    /// The timeout of one attempt. Default: none.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde", skip_serializing_if = "Option::is_none"))]
    pub attempt_timeout: Option<Duration>,
}

impl Retry {
    /// Creates a policy with this number of attempts, and defaults for everything else.
    #[must_use]
    pub const fn new(attempts: u32) -> Self {
        Self {
            attempts,
            first_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(10),
            multiplier: 2.0,
            jitter: 0.25,
            attempt_timeout: None,
        }
    }

    /// Creates a policy for operations that usually succeed within a second: 10 attempts, with delays from 50 ms to 1 s.
    #[must_use]
    pub const fn fast() -> Self {
        Self::new(10).with_delays(Duration::from_millis(50), Duration::from_secs(1))
    }

    /// Creates a policy for operations that load the other side: 20 attempts, with delays from 500 ms to 30 s.
    #[must_use]
    pub const fn conservative() -> Self {
        Self::new(20).with_delays(Duration::from_millis(500), Duration::from_secs(30))
    }

    /// Sets the largest number of attempts, the first one included.
    #[must_use]
    pub const fn with_attempts(self, attempts: u32) -> Self {
        Self { attempts, ..self }
    }

    /// Sets the delay after the first failed attempt, and the largest delay.
    #[must_use]
    pub const fn with_delays(self, first_delay: Duration, max_delay: Duration) -> Self {
        Self { first_delay, max_delay, ..self }
    }

    /// Sets the factor by which the delay grows.
    #[must_use]
    pub const fn with_multiplier(self, multiplier: f64) -> Self {
        Self { multiplier, ..self }
    }

    /// Sets the largest part by which a delay varies at random.
    #[must_use]
    pub const fn with_jitter(self, jitter: f64) -> Self {
        Self { jitter, ..self }
    }

    /// Sets the timeout of one attempt.
    #[must_use]
    pub const fn with_attempt_timeout(self, attempt_timeout: Duration) -> Self {
        Self { attempt_timeout: Some(attempt_timeout), ..self }
    }

    /// Returns the delay after the failure of this attempt, which is counted from 1. The same seed gives the same delays.
    #[must_use]
    pub fn delay(&self, attempt: u32, seed: u64) -> Duration {
        let growths = f64::from(attempt.saturating_sub(1));
        // A product that is too large, or not a number, is the largest delay.
        let grown = self.first_delay.as_secs_f64() * self.multiplier.max(1.0).powf(growths);
        let delay = Duration::try_from_secs_f64(grown).unwrap_or(self.max_delay).min(self.max_delay);
        let share = Jitter::new((seed, attempt)).share() * 2.0 - 1.0;
        let jitter = if self.jitter.is_finite() { self.jitter.clamp(0.0, 1.0) } else { 0.0 };
        Duration::try_from_secs_f64(delay.as_secs_f64() * (1.0 + share * jitter)).unwrap_or(self.max_delay)
    }

    /// Returns whether another attempt follows the failure of this one, which is counted from 1.
    #[must_use]
    pub const fn has_another(&self, attempt: u32) -> bool {
        attempt < self.attempts
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::new(50)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_as_documented() {
        let table = [
            (Retry::fast(), 10, 50, 1_000, [50, 100, 200, 400, 800, 1_000, 1_000]),
            (Retry::default(), 50, 100, 10_000, [100, 200, 400, 800, 1_600, 3_200, 6_400]),
            (Retry::conservative(), 20, 500, 30_000, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000]),
        ];
        for (retry, attempts, first, largest, delays) in table {
            assert_eq!(retry.attempts, attempts);
            assert_eq!(retry.first_delay, Duration::from_millis(first));
            assert_eq!(retry.max_delay, Duration::from_millis(largest));
            assert!(retry.has_another(attempts - 1) && !retry.has_another(attempts));
            for (attempt, delay) in (1..).zip(delays) {
                assert_eq!(retry.with_jitter(0.0).delay(attempt, 1), Duration::from_millis(delay), "attempt {attempt}");
            }
        }
    }

    #[test]
    fn jitter_stays_within_a_quarter_and_follows_from_the_seed() {
        let retry = Retry::fast();
        let delays: Vec<_> = (0..1000).map(|seed| retry.delay(1, seed).as_secs_f64()).collect();
        let (least, most) = delays.iter().fold((f64::MAX, 0.0_f64), |(low, high), at| (low.min(*at), high.max(*at)));
        assert!((0.0375..0.0385).contains(&least) && (0.0615..=0.0625).contains(&most), "{least} to {most}");
        assert_eq!(retry.delay(3, 7), retry.delay(3, 7));
        assert_ne!(retry.delay(3, 7), retry.delay(3, 8));
    }

    #[test]
    fn no_value_breaks_the_arithmetic() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0, 1e300] {
            for attempt in [0, 1, u32::MAX] {
                let retry = Retry::new(0).with_multiplier(number).with_jitter(number);
                assert!(retry.delay(attempt, 1) <= retry.max_delay * 2, "{number} {attempt}");
                let retry = retry.with_delays(Duration::MAX, Duration::MAX);
                assert!(retry.delay(attempt, 1) > Duration::ZERO, "{number} {attempt}");
            }
        }
    }

    #[test]
    fn is_plain_data() {
        let retry = Retry::fast().with_attempt_timeout(Duration::from_secs(2));
        let text = serde_json::to_string(&retry).unwrap();
        assert!(text.contains(r#""first_delay":"50ms""#), "{text}");
        assert_eq!(serde_json::from_str::<Retry>(&text).unwrap(), retry);
        assert_eq!(serde_json::from_str::<Retry>("{}").unwrap(), Retry::default());
        assert!(serde_json::from_str::<Retry>(r#"{"atempts":3}"#).is_err());
    }
}
