//! Waiting in tests, by the system's clock.

use std::{future::Future, time::Duration};

use lease_core::{Clock, Error, SystemClock, Wakeups};

/// Longer than anything takes that a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lets this much time pass.
pub async fn pass(duration: Duration) {
    SystemClock.sleep_until(SystemClock.now() + duration).await;
}

/// The outcome of what must not hang.
///
/// # Panics
///
/// When there is none within the limit.
pub async fn within<T>(what: &str, limit: Duration, work: impl Future<Output = T>) -> T {
    tokio::select! {
        outcome = work => outcome,
        () = pass(limit) => panic!("{what}: nothing happened within {limit:?}"),
    }
}

/// The error of a call to a server that says nothing, which must end by itself, and may be repeated.
///
/// # Panics
///
/// When it does not end within the limit, or was done, or says that it may not be repeated.
pub async fn fails_within(what: &str, limit: Duration, call: impl Future<Output = Option<Error>>) -> Error {
    let error = within(what, limit, call).await.unwrap_or_else(|| panic!("{what} was done by a frozen server"));
    assert!(error.is_transient(), "{what}: {error}");
    error
}

/// Waits until something is so.
///
/// # Panics
///
/// When it is not so within 20 seconds.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = SystemClock.now() + PATIENCE;
    while !condition().await {
        assert!(SystemClock.now() < deadline, "{what}: not within {PATIENCE:?}");
        pass(Duration::from_millis(5)).await;
    }
}

/// Whether a hint comes within this time.
pub async fn is_hinted_within(wakeups: &mut Wakeups, patience: Duration) -> bool {
    tokio::select! {
        () = wakeups.next() => true,
        () = pass(patience) => false,
    }
}
