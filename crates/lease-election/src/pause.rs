//! Pauses with jitter.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use lease_core::{Clock, Moment};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// Pauses of about the same length, seeded so that candidates differ, and a simulation can be repeated.
#[derive(Debug, Clone)]
pub(crate) struct Pause {
    clock: Arc<dyn Clock>,
    length: Duration,
    random: SmallRng,
}

impl Pause {
    pub(crate) fn new(clock: Arc<dyn Clock>, length: Duration, seed: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        seed.hash(&mut hasher);
        Self { clock, length, random: SmallRng::seed_from_u64(hasher.finish()) }
    }

    /// From this length to half as much again.
    pub(crate) fn length(&mut self) -> Duration {
        self.length.mul_f64(self.random.random_range(1.0..1.5))
    }

    /// When a pause that begins now is over.
    pub(crate) fn end(&mut self) -> Moment {
        self.clock.now() + self.length()
    }

    pub(crate) async fn wait(&mut self) {
        let end = self.end();
        self.clock.sleep_until(end).await;
    }
}
