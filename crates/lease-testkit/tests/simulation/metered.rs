//! A clock that ends schedules which spin, or wait for what never comes.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use lease_core::{Clock, Moment, Sleep, TokioClock};
use tokio::sync::Notify;

/// No schedule reads the clock nearly so often.
const MOST_READINGS: u64 = 100_000;

/// No schedule takes nearly so long. Time that is paused goes on to here where nobody has anything left to do.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Whoever spins reads the clock, or lets a store read it: then the schedule fails rather than hangs.
#[derive(Debug)]
pub(crate) struct Metered {
    clock: TokioClock,
    readings: AtomicU64,
    livelock: Notify,
}

impl Clock for Metered {
    fn now(&self) -> Moment {
        if self.readings.fetch_add(1, Ordering::Relaxed) == MOST_READINGS {
            self.livelock.notify_one();
            // Out of a loop that never yields, too.
            panic!("a livelock: the clock was read {MOST_READINGS} times");
        }
        self.clock.now()
    }

    fn sleep_until(&self, moment: Moment) -> Sleep {
        self.clock.sleep_until(moment)
    }
}

impl Metered {
    /// A clock for one schedule, made in its runtime.
    pub(crate) fn new() -> Self {
        Self { clock: TokioClock::new(), readings: AtomicU64::new(0), livelock: Notify::new() }
    }

    /// Runs a schedule. Panics when it spins, or stands still.
    pub(crate) async fn watch<F: Future>(&self, schedule: F) -> F::Output {
        tokio::select! {
            biased;
            () = self.livelock.notified() => panic!("a livelock"),
            outcome = schedule => outcome,
            () = self.clock.sleep_until(self.clock.now() + LONGEST) => panic!("a deadlock"),
        }
    }
}
