//! Waiting in tests, by the system clock.

use std::{future::Future, time::Duration};

use lease_core::{Clock, Error, SystemClock, Wakeups};

/// The limit of all waits of tests.
const WAIT_LIMIT: Duration = Duration::from_secs(20);

/// Sleeps for this long.
pub async fn pass(duration: Duration) {
    SystemClock.sleep_until(SystemClock.now() + duration).await;
}

/// Returns the outcome of a future that must end in time.
///
/// # Panics
///
/// Panics if the future takes longer than `limit`.
pub async fn within<T>(what: &str, limit: Duration, work: impl Future<Output = T>) -> T {
    tokio::select! {
        outcome = work => outcome,
        () = pass(limit) => panic!("{what}: no outcome within {limit:?}"),
    }
}

/// Returns the error of a call to a server that does not answer.
///
/// # Panics
///
/// Panics if the call takes longer than `limit`, succeeds, or fails with an error that is not transient.
pub async fn fails_within(what: &str, limit: Duration, call: impl Future<Output = Option<Error>>) -> Error {
    let error = within(what, limit, call).await.unwrap_or_else(|| panic!("{what}: a frozen server executed the call"));
    assert!(error.is_transient(), "{what}: {error}");
    error
}

/// Waits until the condition is true.
///
/// # Panics
///
/// Panics if it is not true within 20 seconds.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = SystemClock.now() + WAIT_LIMIT;
    while !condition().await {
        assert!(SystemClock.now() < deadline, "not within {WAIT_LIMIT:?}: {what}");
        pass(Duration::from_millis(5)).await;
    }
}

/// Returns whether a hint comes within this time.
pub async fn is_hinted_within(wakeups: &mut Wakeups, limit: Duration) -> bool {
    tokio::select! {
        () = wakeups.next() => true,
        () = pass(limit) => false,
    }
}
