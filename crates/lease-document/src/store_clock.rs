//! The store's clock, as an interval on the clock of this process.

use std::time::{Duration, UNIX_EPOCH};

use lease_core::Moment;

/// The assumed largest relative error of a clock's rate (ρ).
pub(crate) const DRIFT: f64 = 0.01;

/// What an answer says of the store's clock: when the answer was made, the clock stood in `[at, at + resolution)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// The time since the Unix epoch.
    pub at: Duration,
    /// The resolution: a second for the header `Date`. At least a nanosecond.
    pub resolution: Duration,
}

impl Sample {
    /// Creates a sample of a clock with this resolution.
    #[must_use]
    pub fn new(at: Duration, resolution: Duration) -> Self {
        Self { at, resolution: resolution.max(Duration::from_nanos(1)) }
    }

    /// Returns the sample in the headers `Date` and `Age` of an HTTP answer. There is none without a date that can be read, and
    /// none in an answer that has an age, because a cache has made it.
    #[must_use]
    pub fn from_http(date: Option<&str>, age: Option<&str>) -> Option<Self> {
        if age.is_some() {
            return None;
        }
        let at = httpdate::parse_http_date(date?).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self::new(at, Duration::from_secs(1)))
    }
}

/// What is known of the store's clock: its offset to the clock of this process lies between two bounds. Every answer may narrow
/// them, and the drift of the clocks widens them.
#[derive(Debug, Default)]
pub(crate) struct StoreClock {
    bounds: Option<Bounds>,
    /// While this lasts, bounds are only widened: answers contradicted each other, because the clock has jumped, or because the
    /// servers that answer have different clocks.
    contradicted_until: Option<Moment>,
    /// The longest lease that was written or read.
    longest: Duration,
}

/// Bounds of the offset in ns, as of a moment.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    low: i128,
    high: i128,
    at: Moment,
}

/// The earliest and the latest time that the store's clock can show now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreTime {
    pub(crate) earliest: Duration,
    pub(crate) latest: Duration,
}

impl StoreClock {
    /// Learns from an answer to a request that was sent and received at these moments. Returns the width of the interval if this
    /// answer is the first to contradict the earlier ones.
    pub(crate) fn learn(&mut self, sent: Moment, received: Moment, sample: Sample) -> Option<Duration> {
        // The answer was made between `sent` and `received`.
        let low = nanos(sample.at) - nanos(received.since_origin());
        let high = nanos(sample.at.saturating_add(sample.resolution)) - nanos(sent.since_origin());
        let is_over = self.contradicted_until.is_some_and(|until| received >= until);
        if is_over {
            self.contradicted_until = None;
            self.bounds = None;
        }
        let Some(known) = self.drifted(received) else {
            self.bounds = Some(Bounds { low, high, at: received });
            return None;
        };
        let is_first = self.contradicted_until.is_none();
        if is_first && low.max(known.low) <= high.min(known.high) {
            self.bounds = Some(Bounds { low: low.max(known.low), high: high.min(known.high), at: received });
            return None;
        }
        // Never narrower: the hull, for as long as a lease that was written by either clock may last.
        let hull = Bounds { low: low.min(known.low), high: high.max(known.high), at: received };
        self.bounds = Some(hull);
        if is_first {
            self.contradicted_until = Some(received + self.longest);
        }
        is_first.then(|| duration(hull.high - hull.low))
    }

    /// Notes for how long a lease lasts that was written or read.
    pub(crate) fn note_lease(&mut self, lasts: Duration) {
        self.longest = self.longest.max(lasts);
    }

    /// Returns what the clock can show now, or `None` if nothing is known of it.
    pub(crate) fn now(&self, now: Moment) -> Option<StoreTime> {
        let Bounds { low, high, .. } = self.drifted(now)?;
        let at = nanos(now.since_origin());
        Some(StoreTime { earliest: duration(at + low), latest: duration(at + high) })
    }

    fn drifted(&self, now: Moment) -> Option<Bounds> {
        let Bounds { low, high, at } = self.bounds?;
        let drift = nanos(now.saturating_since(at).mul_f64(DRIFT));
        Some(Bounds { low: low - drift, high: high + drift, at: now })
    }
}

impl StoreTime {
    /// Widens the interval on both sides.
    pub(crate) fn widened(self, slack: Duration) -> Self {
        Self { earliest: self.earliest.saturating_sub(slack), latest: self.latest.saturating_add(slack) }
    }

    pub(crate) fn width(self) -> Duration {
        self.latest.saturating_sub(self.earliest)
    }
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX / 4)
}

fn duration(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn moment(millis: u64) -> Moment {
        Moment::from_origin(MS * u32::try_from(millis).unwrap())
    }

    /// A server whose clock is `ahead` ms before ours answers halfway.
    fn learn(clock: &mut StoreClock, sent: u64, takes: u64, ahead: u64) -> Option<Duration> {
        let at = MS * u32::try_from(sent + takes / 2 + ahead).unwrap();
        clock.learn(moment(sent), moment(sent + takes), Sample::new(at, MS))
    }

    #[test]
    fn a_date_of_http_is_a_second_and_an_answer_of_a_cache_shows_nothing() {
        let date = Some("Sun, 29 Nov 2026 16:13:54 GMT");
        let sample = Sample::new(Duration::from_secs(1_795_968_834), Duration::from_secs(1));
        assert_eq!(Sample::from_http(date, None), Some(sample));
        assert_eq!(Sample::from_http(date, Some("0")), None);
        assert_eq!(Sample::from_http(Some("yesterday"), None), None);
        assert_eq!(Sample::from_http(None, None), None);
    }

    proptest! {
        /// The time of one server always lies in the interval, and a whole second narrows to about a round trip.
        #[test]
        fn s03_the_interval_has_the_time_of_the_server(
            answers in proptest::collection::vec((1_u64..3000, 0_u64..400, 0.0..1.0_f64), 1..40),
            ahead in 0_u64..1_000_000,
        ) {
            let (mut clock, mut now) = (StoreClock::default(), 1000);
            for (pause, takes, share) in answers {
                let sent = now + pause;
                now = sent + takes;
                // Whole seconds, cut off.
                let answered = sent + u64::try_from(Duration::from_millis(takes).mul_f64(share).as_millis()).unwrap();
                let at = Duration::from_secs((answered + ahead) / 1000);
                prop_assert_eq!(clock.learn(moment(sent), moment(now), Sample::new(at, MS * 1000)), None);
                let time = clock.now(moment(now)).unwrap();
                let right = MS * u32::try_from(now + ahead).unwrap();
                prop_assert!(time.earliest <= right && right <= time.latest, "{right:?} is not in {time:?}");
                let later = clock.now(moment(now + 5000)).unwrap();
                prop_assert!(later.width() >= time.width() + MS * 99);
            }
        }
    }

    #[test]
    fn s03_answers_narrow_the_interval() {
        let mut clock = StoreClock::default();
        learn(&mut clock, 0, 1000, 0);
        let wide = clock.now(moment(1000)).unwrap().width();
        learn(&mut clock, 1000, 20, 0);
        assert!(clock.now(moment(1020)).unwrap().width() < wide / 10);
        // A slow answer does not widen it.
        learn(&mut clock, 1020, 1000, 0);
        assert!(clock.now(moment(2020)).unwrap().width() < wide / 10);
    }

    /// Two readings that contradict each other are both possible, for as long as the longest lease.
    #[test]
    fn s03_a_contradiction_never_narrows() {
        let mut clock = StoreClock::default();
        clock.note_lease(MS * 10_000);
        assert_eq!(learn(&mut clock, 0, 10, 0), None);
        assert!(learn(&mut clock, 10, 10, 2000).is_some_and(|width| width >= MS * 2000), "a contradiction is told");
        for sent in (20..9000).step_by(100) {
            assert_eq!(learn(&mut clock, sent, 10, if sent % 200 == 20 { 0 } else { 2000 }), None, "it is told once");
            assert!(clock.now(moment(sent + 10)).unwrap().width() >= MS * 2000);
        }
        learn(&mut clock, 10_100, 10, 2000);
        let time = clock.now(moment(10_110)).unwrap();
        assert!(time.width() < MS * 20 && time.earliest >= MS * 12_095, "{time:?}");
    }
}
