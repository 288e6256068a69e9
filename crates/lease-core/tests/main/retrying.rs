//! Retrying an operation while a lease is held.

#![allow(clippy::disallowed_methods, reason = "the clock of the test is that of its paused runtime")]

use std::{
    cell::Cell,
    sync::{Arc, Mutex},
    time::Duration,
};

use lease_core::{Clock, Lease, LeaseOptions, LossReason, Moment, Retry, RetryError};
use proptest::prelude::*;
use tokio::time::sleep;

use crate::support::{TTL, TroubledStore, client};

/// While it lives, an attempt is in flight. Notes the moment at which it ends, and the last deadline that it saw.
struct InFlight<'a> {
    lease: &'a Lease,
    clock: Arc<dyn Clock>,
    deadline: Cell<Moment>,
    ends: &'a Mutex<Vec<(Moment, Moment)>>,
}

impl InFlight<'_> {
    /// Works for this long, in small steps, at each of which the deadline is read.
    async fn work(&self, duration: Duration) {
        let end = self.clock.now() + duration;
        while self.clock.now() < end {
            if self.lease.is_held() {
                self.deadline.set(self.lease.valid_until());
            }
            sleep(Duration::from_millis(1).min(end.saturating_since(self.clock.now()))).await;
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.ends.lock().unwrap().push((self.clock.now(), self.deadline.get()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whatever the attempts take, and whenever the store fails: none is in flight after the deadline, and none with a timeout is
    /// in flight at the deadline.
    #[test]
    fn s05_no_attempt_outlives_the_lease(
        attempts in prop::collection::vec(1_u64..4_000, 1..12),
        timeout in prop::option::of(1_u64..3_000),
        fails_after in 0_u64..12_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (outcome, ends) = runtime.block_on(async {
            let store = TroubledStore::new();
            let client = client(&store);
            let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
            tokio::spawn(async move {
                sleep(Duration::from_millis(fails_after)).await;
                store.close_gate();
            });
            let mut retry = Retry::new(20).with_delays(Duration::from_millis(20), Duration::from_secs(1));
            retry.attempt_timeout = timeout.map(Duration::from_millis);
            let (ends, number) = (Mutex::default(), Cell::new(0));
            let outcome = lease.retry(&retry, || {
                let in_flight = InFlight {
                    lease: &lease,
                    clock: Arc::clone(client.clock()),
                    deadline: Cell::new(lease.valid_until()),
                    ends: &ends,
                };
                let duration = attempts[number.get() % attempts.len()];
                number.set(number.get() + 1);
                async move {
                    in_flight.work(Duration::from_millis(duration)).await;
                    Err::<(), _>("not yet")
                }
            });
            let outcome = outcome.await;
            (outcome, ends.into_inner().unwrap())
        });
        for (ended, deadline) in &ends {
            prop_assert!(ended <= deadline, "an attempt ended at {ended:?}, after the deadline {deadline:?}");
            prop_assert!(timeout.is_none() || ended < deadline, "an attempt was in flight at the deadline");
        }
        match outcome {
            Err(RetryError::Exhausted { attempts, .. }) => prop_assert_eq!(attempts as usize, ends.len()),
            Err(RetryError::Lost(lost)) => prop_assert_eq!(lost.reason, LossReason::Expired),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_is_attempted_until_it_succeeds() {
    let client = client(&TroubledStore::new());
    let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    let handle = lease.handle();
    // On another task: the future can be sent there.
    let outcome = tokio::spawn(async move {
        let mut left = 3;
        let retry = Retry::fast();
        let operation = || {
            left -= 1;
            let left = left;
            async move { if left > 0 { Err(format!("{left} left")) } else { Ok("done") } }
        };
        handle.retry(&retry, operation).await
    });
    assert_eq!(outcome.await.unwrap(), Ok("done"));
}

#[tokio::test(start_paused = true)]
async fn the_last_error_is_returned_when_all_attempts_have_failed() {
    let client = client(&TroubledStore::new());
    let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    let retry = Retry::fast().with_attempts(3);
    let error = lease.retry(&retry, || async { Err::<(), _>("busy") }).await.unwrap_err();
    assert_eq!(error.to_string(), "all 3 attempts failed: busy");
    let retry = retry.with_attempt_timeout(TTL / 10);
    let error = lease.retry(&retry, std::future::pending::<Result<(), String>>).await.unwrap_err();
    assert_eq!(error.to_string(), "all 3 attempts failed: the last one timed out");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_can_never_fit_is_refused_at_once() {
    let client = client(&TroubledStore::new());
    let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    let retry = Retry::fast().with_attempt_timeout(TTL);
    let error = lease.retry(&retry, || async { Ok::<_, String>(()) }).await.unwrap_err();
    assert!(matches!(error, RetryError::TimeoutTooLong { timeout, .. } if timeout == TTL), "{error:?}");
    assert!(error.to_string().contains("shorten it"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_waits_for_the_renewal_that_it_needs() {
    let client = client(&TroubledStore::new());
    let options = LeaseOptions::new(TTL);
    let lease = client.try_acquire("job", options).await.unwrap().acquired().unwrap();
    // Long enough that it fits only right after a renewal.
    let retry = Retry::fast().with_attempt_timeout(TTL.mul_f64(0.9));
    sleep(TTL / 4).await;
    let remaining = lease.retry(&retry, || async { Ok::<_, String>(lease.remaining()) }).await.unwrap();
    assert!(remaining > TTL.mul_f64(0.9), "{remaining:?}");
}

/// The maximum tenure is shorter than half of the validity, and no renewal makes more of it.
#[tokio::test(start_paused = true)]
async fn a_lease_whose_maximum_tenure_is_short_attempts_all_the_same() {
    let client = client(&TroubledStore::new());
    let options = LeaseOptions::new(TTL).with_max_tenure(TTL / 3);
    let lease = client.try_acquire("job", options).await.unwrap().acquired().unwrap();
    let outcome = lease.retry(&Retry::fast(), async || Ok::<_, ()>(17)).await;
    assert_eq!(outcome, Ok(17));
    let too_long = Retry::fast().with_attempt_timeout(TTL / 2);
    let outcome = lease.retry(&too_long, async || Ok::<_, ()>(17)).await;
    let Err(RetryError::TimeoutTooLong { validity, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(validity, TTL / 3);
}
