//! The health of candidates, and the decision whether they are fit to lead.

use std::{collections::BTreeMap, future::Future};

/// The health of a candidate: a score from 0 (unhealthy) to 1 (healthy), with details that are published.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    score: f64,
    details: BTreeMap<String, String>,
    basis: Basis,
}

/// The origin of the health of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basis {
    /// The default: the health was not set, and there is no check.
    Presumed,
    /// There is a check, which has not returned yet.
    Awaited,
    /// It was set, or comes from a check.
    Set,
}

impl Health {
    /// Returns the health of a candidate whose health was never set.
    pub(crate) fn presumed() -> Self {
        Self { basis: Basis::Presumed, ..Self::healthy() }
    }

    pub(crate) fn is_presumed(&self) -> bool {
        self.basis == Basis::Presumed
    }

    /// Returns the health of a candidate whose check has not returned yet.
    pub(crate) fn awaited() -> Self {
        Self { basis: Basis::Awaited, ..Self::unhealthy() }.with_detail("check", "no result yet")
    }

    pub(crate) fn is_awaited(&self) -> bool {
        self.basis == Basis::Awaited
    }

    /// Returns full health, with the score 1.
    #[must_use]
    pub fn healthy() -> Self {
        Self::with_score(1.0)
    }

    /// Returns no health, with the score 0: not fit to lead.
    #[must_use]
    pub fn unhealthy() -> Self {
        Self::with_score(0.0)
    }

    /// Returns the health with this score. A score below 0 counts as 0, one above 1 as 1, and NaN as 0.
    #[must_use]
    pub fn with_score(score: f64) -> Self {
        let score = if score.is_nan() { 0.0 } else { score.clamp(0.0, 1.0) };
        Self { score, details: BTreeMap::new(), basis: Basis::Set }
    }

    /// Adds a detail, for example `("disk", "97 % full")`.
    #[must_use]
    pub fn with_detail(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.details.insert(key.into(), value.into());
        self
    }

    /// Returns the score, from 0 to 1.
    #[must_use]
    pub fn score(&self) -> f64 {
        self.score
    }

    /// Returns the details, in the order of their keys.
    #[must_use]
    pub fn details(&self) -> &BTreeMap<String, String> {
        &self.details
    }
}

impl From<bool> for Health {
    fn from(healthy: bool) -> Self {
        if healthy { Self::healthy() } else { Self::unhealthy() }
    }
}

impl From<f64> for Health {
    fn from(score: f64) -> Self {
        Self::with_score(score)
    }
}

/// A health check of a candidate; see [`Candidate::watch_health`](crate::Candidate::watch_health).
///
/// Every closure that returns a future of a [`Health`], a score or a `bool` is a health check:
///
/// ```
/// # use lease_election::{Health, HealthCheck};
/// fn check() -> impl HealthCheck {
///     || async {
///         // What blocks does not block the runtime.
///         let is_there = || std::fs::exists("/var/lib/queue").unwrap_or(false);
///         tokio::task::spawn_blocking(is_there).await.unwrap_or(false)
///     }
/// }
///
/// struct Disk;
///
/// impl HealthCheck for Disk {
///     async fn check(&self) -> Health {
///         Health::with_score(0.95).with_detail("disk", "61 % full")
///     }
/// }
/// ```
pub trait HealthCheck: Send + Sync + 'static {
    /// Returns the current health of the candidate.
    fn check(&self) -> impl Future<Output = Health> + Send;
}

impl<F, C, H> HealthCheck for F
where
    F: Fn() -> C + Send + Sync + 'static,
    C: Future<Output = H> + Send,
    H: Into<Health>,
{
    async fn check(&self) -> Health {
        self().await.into()
    }
}

/// Decides whether a candidate is fit, with hysteresis (L8).
#[derive(Debug)]
pub(crate) struct Gate {
    minimum: f64,
    recovered: f64,
    fit: bool,
}

impl Gate {
    pub(crate) fn new(minimum: f64, hysteresis: f64) -> Self {
        Self { minimum, recovered: (minimum + hysteresis).min(1.0), fit: true }
    }

    pub(crate) fn is_fit(&mut self, score: f64) -> bool {
        self.fit = score >= if self.fit { self.minimum } else { self.recovered };
        self.fit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l08_the_gate_does_not_flap() {
        let mut gate = Gate::new(0.8, 0.1);
        let scores = [1.0, 0.8, 0.79, 0.81, 0.89, 0.9, 0.8, 0.5];
        let fit = scores.map(|score| gate.is_fit(score));
        assert_eq!(fit, [true, true, false, false, false, true, true, false]);
    }

    #[test]
    fn a_perfect_minimum_can_be_reached_again() {
        let mut gate = Gate::new(1.0, 0.5);
        assert!(!gate.is_fit(0.99) && gate.is_fit(1.0));
    }

    #[test]
    fn a_score_is_from_0_to_1() {
        for (given, score) in [(-1.0, 0.0), (2.0, 1.0), (f64::NAN, 0.0), (0.5, 0.5)] {
            assert_eq!(Health::from(given).score(), score);
        }
    }
}
