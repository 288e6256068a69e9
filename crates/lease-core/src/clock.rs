//! The only reader of time.
#![allow(clippy::disallowed_methods, reason = "every other file asks a Clock")]

use std::{
    fmt::Debug,
    future::Future,
    ops::{Add, Sub},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

/// A moment on a [`Clock`]: the time since that clock's own origin. Moments of different clocks cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// Creates the moment at which this much time has passed since the clock's origin.
    #[must_use]
    pub const fn from_origin(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// Returns the time since the clock's origin.
    #[must_use]
    pub const fn since_origin(self) -> Duration {
        self.0
    }

    /// Returns the time since the clock's origin in nanoseconds, for an atomic. Saturates.
    pub(crate) fn as_nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Returns the time from an earlier moment to this one, or zero if that moment is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Returns the moment this much later. Saturates at the largest moment.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    /// Returns the moment this much earlier. Saturates at the origin.
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }
}

/// The future of [`Clock::sleep_until`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A local clock that never goes back, and that includes the time for which the machine was suspended (S18).
///
/// Everything in this library that measures or waits uses its client's clock, so that tests can control time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Returns the current moment. Cheap, without I/O.
    fn now(&self) -> Moment;

    /// Waits until `deadline` by this clock. Called within a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    fn sleep_until(&self, deadline: Moment) -> Sleep;
}

/// A shared clock is a clock.
impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Moment {
        (**self).now()
    }

    fn sleep_until(&self, deadline: Moment) -> Sleep {
        (**self).sleep_until(deadline)
    }
}

/// The system's clock, which includes the time of suspension: `CLOCK_BOOTTIME` on Linux, the continuous clock elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// A timer checks the clock at least this often, so that a suspension does not delay it for longer (S5).
const LONGEST_NAP: Duration = Duration::from_secs(1);

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment(time_since_boot())
    }

    fn sleep_until(&self, deadline: Moment) -> Sleep {
        Box::pin(async move {
            loop {
                let left = deadline.saturating_since(SystemClock.now());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(LONGEST_NAP)).await;
            }
        })
    }
}

#[cfg(unix)]
fn time_since_boot() -> Duration {
    use rustix::time::{ClockId, clock_gettime};

    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::Boottime;
    // On Apple systems this one goes on during a suspension; std's `Instant` does not.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: ClockId = ClockId::Monotonic;

    let time = clock_gettime(CLOCK);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Elsewhere (Windows) std's `Instant` goes on during a suspension.
#[cfg(not(unix))]
fn time_since_boot() -> Duration {
    static ORIGIN: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    ORIGIN.elapsed()
}

/// The clock of the tokio runtime, which a test can pause and advance. Not for production: it stops while the machine is
/// suspended.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    origin: tokio::time::Instant,
}

impl TokioClock {
    /// Creates a clock whose origin is now. Create it within the runtime that uses it, because a paused runtime has its own time.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Moment {
        Moment(tokio::time::Instant::now().saturating_duration_since(self.origin))
    }

    fn sleep_until(&self, deadline: Moment) -> Sleep {
        match self.origin.checked_add(deadline.0) {
            Some(instant) => Box::pin(tokio::time::sleep_until(instant)),
            None => Box::pin(std::future::pending()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tokio_clock_can_be_paused_and_advanced() {
        let clock = TokioClock::new();
        let start = clock.now();
        clock.sleep_until(start + Duration::from_secs(3600)).await;
        assert_eq!(clock.now().saturating_since(start), Duration::from_secs(3600));
    }

    #[tokio::test]
    async fn s18_system_clock_is_the_one_that_includes_suspend() {
        let start = SystemClock.now();
        SystemClock.sleep_until(start + Duration::from_millis(20)).await;
        assert!(SystemClock.now().saturating_since(start) >= Duration::from_millis(20));
        #[cfg(target_os = "linux")]
        {
            let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
            let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
            let now = SystemClock.now().since_origin().as_secs_f64();
            assert!((now - uptime).abs() < 1.0, "{now} is not the time since boot, {uptime}");
        }
    }

    #[test]
    fn moments_never_leave_their_range() {
        let origin = Moment::from_origin(Duration::ZERO);
        assert_eq!(origin - Duration::from_secs(1), origin);
        assert_eq!(origin + Duration::MAX + Duration::from_secs(1), Moment::from_origin(Duration::MAX));
    }
}
