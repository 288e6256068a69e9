//! Waiting for what takes a while, and not for ever.

use std::time::Duration;

use lease_core::{Clock, SystemClock};

use crate::ServerError;

/// Blocks until the condition holds; an error that names it after `limit`.
pub(crate) fn poll_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Result<(), ServerError> {
    let deadline = SystemClock.now() + limit;
    while !condition() {
        if SystemClock.now() >= deadline {
            return Err(ServerError::Failed(format!("waited {limit:?} in vain: {what}")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
