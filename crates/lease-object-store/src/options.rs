//! The options of a store.

use std::{fmt, time::Duration};

use lease_core::{ErrorKind, ExpiryJudge, Result};

use crate::error::connect_error;

/// The shortest poll interval.
const SHORTEST_POLL: Duration = Duration::from_millis(100);

/// The options of an [`ObjectLeaseStore`](crate::ObjectLeaseStore).
///
/// ```no_run
/// # async fn example() -> lease_core::Result<()> {
/// use std::time::Duration;
///
/// use lease_object_store::ObjectLeaseStoreOptions;
///
/// let store = ObjectLeaseStoreOptions::new()
///     .with_poll_interval(Duration::from_secs(15))
///     .with_option("region", "eu-central-1")
///     .connect("s3://my-bucket/leases")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ObjectLeaseStoreOptions {
    /// The prefix of all keys, where the URL has no path; `app-runtime-leases` by default. Letters, digits, `-`, `_`, `.`, and
    /// slashes between its parts, at most 250 bytes. Two stores with different prefixes share nothing.
    pub prefix: String,
    /// Who judges expiry. `None`, the default, is [`ServersWallClocks`](ExpiryJudge::ServersWallClocks) with a slack of 2 s, where
    /// answers show the service's clock, and otherwise [`Contenders`](ExpiryJudge::Contenders).
    /// [`ServerWallClock`](ExpiryJudge::ServerWallClock) is for a service that is one server. All processes need the same.
    pub expiry_judge: Option<ExpiryJudge>,
    /// How often a waiter looks whether a name is free: from this to twice this; 5 s by default, and at least 100 ms. Each look is a
    /// request. A waiter wins that much later after a release.
    pub poll_interval: Duration,
    driver: Vec<(String, String)>,
}

impl Default for ObjectLeaseStoreOptions {
    fn default() -> Self {
        Self {
            prefix: "app-runtime-leases".to_owned(),
            expiry_judge: None,
            poll_interval: Duration::from_secs(5),
            driver: Vec::new(),
        }
    }
}

impl ObjectLeaseStoreOptions {
    /// Creates the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`ObjectLeaseStoreOptions::prefix`].
    #[must_use]
    pub fn with_prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// Sets [`ObjectLeaseStoreOptions::expiry_judge`].
    #[must_use]
    pub fn with_expiry_judge(self, expiry_judge: ExpiryJudge) -> Self {
        Self { expiry_judge: Some(expiry_judge), ..self }
    }

    /// Sets [`ObjectLeaseStoreOptions::poll_interval`].
    #[must_use]
    pub fn with_poll_interval(self, poll_interval: Duration) -> Self {
        Self { poll_interval, ..self }
    }

    /// Sets an option of [`object_store`], as its keys are: `region`, `endpoint`, `access_key_id`, `secret_access_key`,
    /// `account_name`, `client_secret`, `service_account_path`, `allow_http`, … It goes before the environment, and the last value
    /// of a key counts. Only [`connect`](Self::connect) uses it. No value is printed.
    #[must_use]
    pub fn with_option(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.driver.push((key.into(), value.into()));
        self
    }

    pub(crate) fn driver(&self) -> impl Iterator<Item = (&str, &str)> {
        self.driver.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Checks the options that depend on nothing else.
    pub(crate) fn check(&self, store: &'static str) -> Result<()> {
        let invalid = |message: &'static str| Err(connect_error(ErrorKind::Invalid, store, message));
        if self.poll_interval < SHORTEST_POLL {
            return invalid("the poll interval must be at least 100 ms");
        }
        match self.expiry_judge {
            Some(ExpiryJudge::Process | ExpiryJudge::ServerMonotonicClock) => {
                invalid("expiry is judged by the servers' wall clocks, or by contenders: choose one of them")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for ObjectLeaseStoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Prints no value of the driver's options: some are secrets.
        let keys: Vec<&str> = self.driver().map(|(key, _)| key).collect();
        f.debug_struct("ObjectLeaseStoreOptions")
            .field("prefix", &self.prefix)
            .field("expiry_judge", &self.expiry_judge)
            .field("poll_interval", &self.poll_interval)
            .field("driver", &keys)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_printed() {
        let options = ObjectLeaseStoreOptions::new().with_option("secret_access_key", "hunter2");
        let printed = format!("{options:?}");
        assert!(printed.contains("secret_access_key") && !printed.contains("hunter2"), "{printed}");
    }

    #[test]
    fn a_judge_that_cannot_be_and_a_poll_without_a_pause_are_refused() {
        let options = ObjectLeaseStoreOptions::new();
        assert!(options.check("s3").is_ok());
        let bad = [
            options.clone().with_expiry_judge(ExpiryJudge::Process),
            options.clone().with_expiry_judge(ExpiryJudge::ServerMonotonicClock),
            options.with_poll_interval(Duration::ZERO),
        ];
        for options in bad {
            assert_eq!(options.check("s3").unwrap_err().kind(), ErrorKind::Invalid);
        }
    }
}
