//! Pauses with jitter.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use lease_core::{Clock, Moment};

/// Pauses of about the same length. The seed makes candidates differ, and simulations repeatable.
#[derive(Debug, Clone)]
pub(crate) struct Pause {
    clock: Arc<dyn Clock>,
    length: Duration,
    random: DefaultHasher,
}

impl Pause {
    pub(crate) fn new(clock: Arc<dyn Clock>, length: Duration, seed: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        seed.hash(&mut hasher);
        Self { clock, length, random: hasher }
    }

    pub(crate) fn with_length(self, length: Duration) -> Self {
        Self { length, ..self }
    }

    /// Returns a random length, from the base length to half as much again.
    pub(crate) fn length(&mut self) -> Duration {
        self.random.write_u8(0);
        let share = self.random.finish() as f64 / u64::MAX as f64;
        self.length.mul_f64(1.0 + share / 2.0)
    }

    /// Returns the end of a pause that begins now.
    pub(crate) fn end(&mut self) -> Moment {
        self.clock.now() + self.length()
    }

    pub(crate) async fn wait(&mut self) {
        let end = self.end();
        self.clock.sleep_until(end).await;
    }
}
