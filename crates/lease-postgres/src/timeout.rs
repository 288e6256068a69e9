//! A time limit for a future.

use std::time::Duration;

use lease_core::{Clock, SystemClock};

/// Returns the output of `work`, or `None` when `limit` passes first; `work` is then dropped.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let clock = SystemClock;
    tokio::select! {
        output = work => Some(output),
        () = clock.sleep_until(clock.now() + limit) => None,
    }
}
