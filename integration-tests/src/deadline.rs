//! Polling with a limit.

use std::time::Duration;

use lease_core::{Clock, SystemClock};

use crate::ServerError;

/// Blocks until the condition is true. Returns an error that names the condition after `limit`.
pub(crate) fn poll_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Result<(), ServerError> {
    let deadline = SystemClock.now() + limit;
    while !condition() {
        if SystemClock.now() >= deadline {
            return Err(ServerError::Failed(format!("timed out after {limit:?}: {what}")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
