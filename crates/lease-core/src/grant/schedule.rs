//! The arithmetic of a tenure: until when it is valid, when to renew it, and how long to wait for an answer.
//!
//! It uses no clock, no task and no store.

use std::time::Duration;

use crate::{LeaseOptions, Moment, Renewal};

/// The duration of a round trip to a nearby store, with its commit.
const ROUND_TRIP: Duration = Duration::from_millis(1);

/// Returns the least time that must be left to send a request with this timeout. With less, its answer could not arrive in time,
/// and its outcome would be unknown.
pub(crate) fn least_time(timeout: Duration) -> Duration {
    ROUND_TRIP.min(timeout / 4)
}

/// The timings of one lease.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Schedule {
    pub(crate) ttl: Duration,
    /// The time between two automatic renewals.
    pub(crate) interval: Duration,
    pub(crate) attempt_timeout: Duration,
    /// The shortest time for which the name is blocked, counted from the grant.
    pub(crate) hold_at_least: Duration,
    automatic: bool,
    clock_drift: f64,
    margin: Option<Duration>,
    max_tenure: Option<Duration>,
}

/// The next steps of a tenure that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Until when the tenure is valid (S1).
    pub(crate) valid_until: Moment,
    /// When to renew it, if it is to be renewed.
    pub(crate) renew_at: Option<Moment>,
}

impl Schedule {
    pub(crate) fn new(options: &LeaseOptions) -> Self {
        Self {
            ttl: options.ttl,
            interval: options.renewal_interval.unwrap_or(options.ttl / 3),
            attempt_timeout: options.attempt_timeout.unwrap_or((options.ttl / 6).min(Duration::from_secs(5))),
            hold_at_least: options.hold_at_least,
            automatic: options.renewal == Renewal::Automatic,
            clock_drift: options.clock_drift,
            margin: options.margin,
            max_tenure: options.max_tenure,
        }
    }

    /// Returns how long a holder may rely on a grant of which `remaining` is left at the store: `T·(1−ρ) − m` (S1).
    pub(crate) fn validity(&self, remaining: Duration) -> Duration {
        let margin = self.margin.unwrap_or(Duration::from_millis(50).max(remaining / 100)).min(remaining / 4);
        remaining.mul_f64(1.0 - self.clock_drift).saturating_sub(margin)
    }

    /// Returns how long a tenure is valid at the most after a grant or a renewal.
    pub(crate) fn longest_validity(&self) -> Duration {
        let validity = self.validity(self.ttl);
        self.max_tenure.map_or(validity, |tenure| tenure.min(validity))
    }

    /// Returns the first plan of a tenure, or `None` if the answer arrived too late (S1).
    pub(crate) fn after_grant(&self, sent: Moment, now: Moment, remaining: Duration) -> Option<Plan> {
        let plan = self.plan(sent, sent, remaining);
        (now < plan.valid_until).then_some(plan)
    }

    /// Returns the plan after a renewal that was sent at `sent`. A deadline never moves back (S8), because the answer to an older
    /// request may arrive after that to a newer one.
    pub(crate) fn after_renewal(&self, began: Moment, current: Moment, sent: Moment, remaining: Duration) -> Plan {
        let plan = self.plan(began, sent, remaining);
        Plan { valid_until: plan.valid_until.max(current), ..plan }
    }

    /// Returns when to repeat a failed renewal: often enough for many attempts before the deadline.
    pub(crate) fn retry_at(&self, now: Moment, valid_until: Moment) -> Moment {
        const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
        let left = valid_until.saturating_since(now);
        now + (left / 8).clamp(SHORTEST_PAUSE.min(left), self.attempt_timeout.max(SHORTEST_PAUSE))
    }

    /// Returns the timeout of a request that is sent now, such that another attempt fits before the deadline (S24). Returns `None`
    /// if no answer could arrive in time.
    pub(crate) fn timeout(&self, now: Moment, valid_until: Moment) -> Option<Duration> {
        let timeout = self.attempt_timeout.min(valid_until.saturating_since(now) / 2);
        (timeout >= least_time(self.attempt_timeout)).then_some(timeout)
    }

    /// Returns when the maximum tenure ends, if there is one.
    pub(crate) fn tenure_ends(&self, began: Moment) -> Option<Moment> {
        self.max_tenure.map(|tenure| began + tenure)
    }

    fn plan(&self, began: Moment, sent: Moment, remaining: Duration) -> Plan {
        let relied_on = sent + self.validity(remaining);
        let end = self.tenure_ends(began).unwrap_or(relied_on);
        // If the store granted less than the ttl, the interval is shortened in proportion.
        let interval = if remaining < self.ttl {
            self.interval.min(self.ttl).mul_f64(remaining.div_duration_f64(self.ttl))
        } else {
            self.interval
        };
        let renew_at = sent + interval;
        Plan { valid_until: relied_on.min(end), renew_at: (self.automatic && relied_on <= end).then_some(renew_at) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: f64) -> Moment {
        Moment::from_origin(Duration::from_secs_f64(seconds))
    }

    fn schedule() -> Schedule {
        Schedule::new(&LeaseOptions::new(SECOND * 30))
    }

    #[test]
    fn s01_validity_is_shorter_than_the_grant_by_drift_and_margin() {
        assert_eq!(schedule().validity(SECOND * 30), Duration::from_millis(29_700 - 300));
        assert_eq!(schedule().validity(SECOND), Duration::from_millis(990 - 50));
        assert_eq!(schedule().validity(Duration::from_millis(100)), Duration::from_millis(99 - 25));
        assert_eq!(schedule().validity(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn s01_deadline_counts_from_the_request_and_a_late_answer_is_of_no_use() {
        let plan = schedule().after_grant(at(100.0), at(110.0), SECOND * 30).unwrap();
        assert_eq!(plan, Plan { valid_until: at(129.4), renew_at: Some(at(110.0)) });
        assert_eq!(schedule().after_grant(at(100.0), at(129.4), SECOND * 30), None);
    }

    #[test]
    fn s01_a_store_that_did_not_refresh_leaves_less() {
        let plan = schedule().after_grant(at(100.0), at(100.0), SECOND * 15).unwrap();
        assert_eq!(plan, Plan { valid_until: at(114.7), renew_at: Some(at(105.0)) });
    }

    #[test]
    fn s08_an_older_answer_does_not_move_the_deadline_back() {
        let plan = schedule().after_renewal(at(0.0), at(150.0), at(110.0), SECOND * 30);
        assert_eq!(plan.valid_until, at(150.0));
        let plan = schedule().after_renewal(at(0.0), at(129.4), at(110.0), SECOND * 30);
        assert_eq!(plan, Plan { valid_until: at(139.4), renew_at: Some(at(120.0)) });
    }

    #[test]
    fn the_longest_tenure_ends_validity_and_renewal() {
        let schedule = Schedule::new(&LeaseOptions::new(SECOND * 30).with_max_tenure(SECOND * 45));
        let plan = schedule.after_renewal(at(100.0), at(129.4), at(110.0), SECOND * 30);
        assert_eq!(plan, Plan { valid_until: at(139.4), renew_at: Some(at(120.0)) });
        let plan = schedule.after_renewal(at(100.0), at(139.4), at(120.0), SECOND * 30);
        assert_eq!(plan, Plan { valid_until: at(145.0), renew_at: None });
    }

    #[test]
    fn by_hand_means_no_renewal() {
        let schedule = Schedule::new(&LeaseOptions::new(SECOND * 30).with_renewal(Renewal::Manual));
        assert_eq!(schedule.after_grant(at(0.0), at(0.0), SECOND * 30).unwrap().renew_at, None);
    }

    #[test]
    fn s24_an_item_with_little_time_left_gives_up_in_half_of_it() {
        assert_eq!(schedule().timeout(at(0.0), at(20.0)), Some(Duration::from_secs(5)));
        assert_eq!(schedule().timeout(at(0.0), at(0.04)), Some(Duration::from_millis(20)));
    }

    #[test]
    fn no_attempt_is_begun_with_less_time_than_a_round_trip_takes() {
        let worth =
            |ttl: Duration, left: f64| Schedule::new(&LeaseOptions::new(ttl)).timeout(at(0.0), at(left)).is_some();
        assert!(worth(SECOND * 30, 0.002_001) && !worth(SECOND * 30, 0.001_999));
        // Attempts that never have more are begun all the same.
        assert!(worth(Duration::from_millis(1), 0.0005) && !worth(Duration::from_millis(1), 0.00005));
    }

    proptest! {
        /// Whatever the delays and failures: two attempts fit, no deadline is later than the store's expiry on a clock
        /// that is off by the drift, and every next step comes before the deadline or is the deadline.
        #[test]
        fn s01_s08_s23_any_course_of_a_tenure_stays_within_the_store_s_grant(
            ttl_ms in 20_u64..100_000,
            rate in 0.99_f64..1.01,
            rounds in prop::collection::vec((0.0_f64..0.4, any::<bool>(), 0.0_f64..1.2), 1..40),
        ) {
            let ttl = Duration::from_millis(ttl_ms);
            let schedule = Schedule::new(&LeaseOptions::new(ttl));
            // The store's clock runs at 1, ours at `rate`; requests reach the store at once, answers are delayed.
            let local = |store: Duration| Moment::from_origin(store.mul_f64(rate));
            let mut store_now = Duration::from_secs(1);
            let mut expires = store_now + ttl;
            let plan = schedule.after_grant(local(store_now), local(store_now), ttl);
            let Some(Plan { mut valid_until, mut renew_at }) = plan else { return Ok(()) };
            let began = local(store_now);
            for (pause, fails, delay) in rounds {
                prop_assert!(valid_until <= local(expires), "relied on for longer than the store grants");
                let Some(at) = renew_at else { break };
                prop_assert!(at < valid_until);
                store_now = store_now.max(at.since_origin().div_f64(rate)) + ttl.mul_f64(pause) / 4;
                let sent = local(store_now);
                if sent >= valid_until { break }
                prop_assert!(schedule.timeout(sent, valid_until).is_none_or(|timeout| sent + timeout <= valid_until));
                if fails {
                    let next = schedule.retry_at(sent, valid_until);
                    prop_assert!(next > sent && next <= valid_until);
                    renew_at = Some(next).filter(|next| *next < valid_until);
                } else {
                    expires = store_now + ttl;
                    store_now += ttl.mul_f64(delay);
                    if local(store_now) >= valid_until { break }
                    let plan = schedule.after_renewal(began, valid_until, sent, ttl);
                    prop_assert!(plan.valid_until >= valid_until);
                    (valid_until, renew_at) = (plan.valid_until, plan.renew_at);
                }
            }
        }
    }
}
