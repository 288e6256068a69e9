//! A clock that ends schedules which spin or wait for ever.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use lease_core::{Clock, Moment, Sleep, TokioClock};
use tokio::sync::Notify;

/// More than any schedule reads the clock.
const MOST_READINGS: u64 = 100_000;

/// Longer than any schedule. Paused time advances to here when no task can run.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Counts the readings, because a loop that spins reads the clock or makes the store read it. The schedule then fails
/// instead of hanging.
#[derive(Debug)]
pub(crate) struct WatchdogClock {
    clock: TokioClock,
    readings: AtomicU64,
    livelock: Notify,
}

impl Clock for WatchdogClock {
    fn now(&self) -> Moment {
        if self.readings.fetch_add(1, Ordering::Relaxed) == MOST_READINGS {
            self.livelock.notify_one();
            // The panic also ends a loop that never yields.
            panic!("a livelock: the clock was read {MOST_READINGS} times");
        }
        self.clock.now()
    }

    fn sleep_until(&self, moment: Moment) -> Sleep {
        self.clock.sleep_until(moment)
    }
}

impl WatchdogClock {
    /// Creates a clock for one schedule, in its runtime.
    pub(crate) fn new() -> Self {
        Self { clock: TokioClock::new(), readings: AtomicU64::new(0), livelock: Notify::new() }
    }

    /// Runs a schedule. Panics if it spins or waits for ever.
    pub(crate) async fn watch<F: Future>(&self, schedule: F) -> F::Output {
        tokio::select! {
            biased;
            () = self.livelock.notified() => panic!("a livelock"),
            outcome = schedule => outcome,
            () = self.clock.sleep_until(self.clock.now() + LONGEST) => panic!("a deadlock"),
        }
    }
}
