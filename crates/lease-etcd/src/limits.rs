//! How long leases may last.

use std::time::Duration;

use lease_core::{Error, ErrorKind};

use crate::{error::here, store::MAX_TTL};

/// Whole seconds, and no fewer than the server grants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// What the server grants where a second is asked for.
    pub(crate) min_ttl: Duration,
}

impl Limits {
    /// The ttl, if it is one that can be granted.
    pub(crate) fn check(&self, operation: &'static str, ttl: Duration) -> Result<Duration, Error> {
        if ttl.is_zero() {
            return Err(here(ErrorKind::Invalid, operation, "a ttl must be greater than zero"));
        }
        self.check_hold(operation, ttl).map_err(|failure| failure.error)
    }

    /// The time for which a name shall stay blocked, if that can be.
    pub(crate) fn check_hold(
        &self,
        operation: &'static str,
        hold: Duration,
    ) -> Result<Duration, crate::error::Failure> {
        if hold <= MAX_TTL {
            return Ok(hold);
        }
        let message = format!("{hold:?} is too long: etcd leases of this library last {MAX_TTL:?} at most");
        let error = here(ErrorKind::Invalid, operation, message);
        Err(crate::error::Failure { error, cure: crate::error::Cure::None })
    }

    /// What is granted for it: whole seconds, at least as long.
    pub(crate) fn rounded(&self, ttl: Duration) -> Duration {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        Duration::from_secs(seconds).max(self.min_ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_rounded_up_to_what_the_server_grants() {
        let limits = Limits { min_ttl: Duration::from_secs(2) };
        for (wish, granted) in [(1, 2000), (2000, 2000), (2001, 3000), (30_000, 30_000)] {
            assert_eq!(limits.rounded(Duration::from_millis(wish)), Duration::from_millis(granted));
        }
        assert!(limits.check("acquire", MAX_TTL).is_ok());
        for bad in [Duration::ZERO, MAX_TTL + Duration::from_nanos(1), Duration::MAX] {
            assert_eq!(limits.check("acquire", bad).unwrap_err().kind(), ErrorKind::Invalid);
        }
    }
}
