//! The limits of how long leases last.

use std::time::Duration;

use lease_core::{Error, ErrorKind};

use crate::error::{Cure, Failure, store_error};

/// The largest ttl.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 3600);

/// The ttls that can be granted: whole seconds, from the minimum of the servers up to [`MAX_TTL`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The ttl that the servers grant where one second is requested.
    pub(crate) min_ttl: Duration,
}

impl Limits {
    /// Returns the ttl, if it can be granted.
    pub(crate) fn check(&self, operation: &'static str, ttl: Duration) -> Result<Duration, Error> {
        if ttl.is_zero() {
            return Err(store_error(ErrorKind::Invalid, operation, "a ttl must be greater than zero"));
        }
        self.check_hold(operation, ttl).map_err(|failure| failure.error)
    }

    /// Returns the time for which a name is to stay blocked, if an etcd lease can last that long.
    pub(crate) fn check_hold(&self, operation: &'static str, hold: Duration) -> Result<Duration, Failure> {
        if hold <= MAX_TTL {
            return Ok(hold);
        }
        let message = format!("{hold:?} is too long: this store grants at most {MAX_TTL:?}");
        let error = store_error(ErrorKind::Invalid, operation, message);
        Err(Failure { error, cure: Cure::None })
    }

    /// Returns the ttl that is granted for this one: rounded up to whole seconds, and at least the minimum.
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
        for (requested, granted) in [(1, 2000), (2000, 2000), (2001, 3000), (30_000, 30_000)] {
            assert_eq!(limits.rounded(Duration::from_millis(requested)), Duration::from_millis(granted));
        }
        assert!(limits.check("acquire", MAX_TTL).is_ok());
        for bad in [Duration::ZERO, MAX_TTL + Duration::from_nanos(1), Duration::MAX] {
            assert_eq!(limits.check("acquire", bad).unwrap_err().kind(), ErrorKind::Invalid);
        }
    }
}
