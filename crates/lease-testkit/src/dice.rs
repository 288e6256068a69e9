//! Randomness that can be repeated.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// A small seeded source of randomness: the same seed gives the same throws.
#[derive(Debug, Clone)]
pub struct Dice(SmallRng);

impl Dice {
    /// Dice that fall as this seed says.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0.random_range(0..end.max(1))
    }

    /// Whether something of this probability, 0 to 1, happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.0.random_bool(probability.clamp(0.0, 1.0))
    }

    /// A duration between these two, in steps of a microsecond.
    pub fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let steps = longest.saturating_sub(shortest).as_micros();
        shortest + Duration::from_micros(self.below(u64::try_from(steps).unwrap_or(u64::MAX).saturating_add(1)))
    }

    /// One of these.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_throws() {
        let throws = |seed| {
            let mut dice = Dice::seeded(seed);
            (0..32).map(|_| dice.below(6)).collect::<Vec<_>>()
        };
        assert_eq!(throws(1), throws(1));
        assert_ne!(throws(1), throws(2));
    }
}
