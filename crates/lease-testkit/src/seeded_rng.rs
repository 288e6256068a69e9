//! Random numbers that can be reproduced.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// A small random number generator for tests and simulations: the same seed gives the same sequence.
#[derive(Debug, Clone)]
pub struct SeededRng(SmallRng);

impl SeededRng {
    /// Creates a generator from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    /// Returns a number from 0 up to, but not including, `end`. An `end` of 0 counts as 1.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0.random_range(0..end.max(1))
    }

    /// Returns `true` with this probability, from 0 to 1.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.0.random_bool(probability.clamp(0.0, 1.0))
    }

    /// Returns a duration from `shortest` to `longest`, in steps of one microsecond.
    pub fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let steps = longest.saturating_sub(shortest).as_micros();
        shortest + Duration::from_micros(self.below(u64::try_from(steps).unwrap_or(u64::MAX).saturating_add(1)))
    }

    /// Returns one of the elements of `of`.
    ///
    /// # Panics
    ///
    /// Panics if `of` is empty.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_sequence() {
        let sequence = |seed| {
            let mut rng = SeededRng::new(seed);
            (0..32).map(|_| rng.below(6)).collect::<Vec<_>>()
        };
        assert_eq!(sequence(1), sequence(1));
        assert_ne!(sequence(1), sequence(2));
    }
}
