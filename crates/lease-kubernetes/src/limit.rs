//! A time limit for steps of connecting.

use std::{pin::pin, time::Duration};

use futures::future::{Either, select};
use lease_core::{Clock, SystemClock};

/// Returns `None` if the future takes longer.
pub(crate) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    match select(pin!(future), SystemClock.sleep_until(SystemClock.now() + limit)).await {
        Either::Left((outcome, _)) => Some(outcome),
        Either::Right(_) => None,
    }
}
