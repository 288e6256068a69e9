//! The wall clock as the clock of a worker: an injected defect.

use std::time::Duration;

use lease_core::{Clock, Moment, Sleep, SystemClock};

/// The wall clock, which jumps, in place of a monotonic clock (S3, S18), for a negative control.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock;

impl WallClock {
    /// Converts a moment of this clock to the host's clock, as if this clock did not jump before.
    pub(crate) fn on_host(moment: Moment) -> Moment {
        SystemClock.now() + moment.saturating_since(WallClock.now())
    }
}

impl Clock for WallClock {
    #[allow(clippy::disallowed_methods, reason = "this is the bug")]
    fn now(&self) -> Moment {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Moment::from_origin(since_epoch.unwrap_or_default())
    }

    fn sleep_until(&self, deadline: Moment) -> Sleep {
        Box::pin(async move {
            while WallClock.now() < deadline {
                let nap = deadline.saturating_since(WallClock.now()).min(Duration::from_millis(100));
                SystemClock.sleep_until(SystemClock.now() + nap).await;
            }
        })
    }
}
