//! A clock with a wrong rate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lease_core::{Clock, Moment, Sleep};

const MILLION: i128 = 1_000_000;
/// The longest sleep between two looks at the clock, as with the system clock. A jump delays a sleeper by this at the most.
const LONGEST_NAP: Duration = Duration::from_secs(1);

/// A clock that runs faster or slower than another clock, has an origin of its own, and can jump forward, as the clock of a
/// machine does over a suspend (S18). Clones are the same clock.
#[derive(Debug, Clone)]
pub struct SkewedClock {
    base: Arc<dyn Clock>,
    /// A million plus the error in parts per million.
    rate: i128,
    offset: Duration,
    jumped_nanos: Arc<AtomicU64>,
}

impl SkewedClock {
    /// Creates a clock that gains this many parts per million on `base`, or loses them if negative, and shows `offset` when
    /// `base` shows its origin. Clients tolerate an error of 1 %, which is 10 000 parts per million.
    #[must_use]
    pub fn new(base: Arc<dyn Clock>, parts_per_million: i32, offset: Duration) -> Self {
        let rate = (MILLION + i128::from(parts_per_million)).max(1);
        Self { base, rate, offset, jumped_nanos: Arc::default() }
    }

    /// Moves the clock forward by this much at once.
    pub fn jump(&self, forward: Duration) {
        let nanos = u64::try_from(forward.as_nanos()).unwrap_or(u64::MAX);
        self.jumped_nanos.fetch_add(nanos, Ordering::SeqCst);
    }

    /// Returns the moment of the base clock at which this clock shows `moment` if it does not jump again, rounded up.
    #[must_use]
    pub fn to_base(&self, moment: Moment) -> Moment {
        let own = moment.since_origin().saturating_sub(self.offset).saturating_sub(self.jumped());
        Moment::from_origin(scale(own, MILLION, self.rate).saturating_add(Duration::from_nanos(1)))
    }

    fn jumped(&self) -> Duration {
        Duration::from_nanos(self.jumped_nanos.load(Ordering::SeqCst))
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> Moment {
        let own = scale(self.base.now().since_origin(), self.rate, MILLION);
        Moment::from_origin(own.saturating_add(self.offset).saturating_add(self.jumped()))
    }

    fn sleep_until(&self, deadline: Moment) -> Sleep {
        let clock = self.clone();
        Box::pin(async move {
            while clock.now() < deadline {
                let nap = clock.base.now() + LONGEST_NAP;
                clock.base.sleep_until(clock.to_base(deadline).min(nap)).await;
            }
        })
    }
}

fn scale(duration: Duration, by: i128, of: i128) -> Duration {
    let nanos = i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX).saturating_mul(by) / of;
    u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use lease_core::TokioClock;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn gains_and_jumps_and_sleeps_by_its_own_time() {
        let base: Arc<dyn Clock> = Arc::new(TokioClock::new());
        let fast = SkewedClock::new(Arc::clone(&base), 10_000, Duration::from_secs(86_400));
        let (start, base_start) = (fast.now(), base.now());
        fast.sleep_until(start + Duration::from_millis(10_100)).await;
        // Tokio's timers are exact to a millisecond.
        assert!((10_100..10_103).contains(&fast.now().saturating_since(start).as_millis()));
        assert!((10_000..10_003).contains(&base.now().saturating_since(base_start).as_millis()));
        fast.jump(Duration::from_secs(60));
        assert!(fast.now().saturating_since(start) >= Duration::from_secs(70));
        assert!(fast.to_base(fast.now()) >= base.now());
    }
}
