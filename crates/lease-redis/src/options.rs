//! The configuration of a store.

use std::{fmt, time::Duration};

use lease_core::{ErrorKind, Result};

use crate::{error::redis_error, tls::Certificates};

/// The configuration of a [`RedisStore`](crate::RedisStore): plain data.
///
/// ```no_run
/// # async fn example() -> lease_core::Result<()> {
/// use std::time::Duration;
///
/// use lease_redis::RedisStoreOptions;
///
/// let store = RedisStoreOptions::new()
///     .with_key_prefix("billing-leases:")
///     .with_wait_replicas(1, Duration::from_millis(200))
///     .connect("rediss://app:password@redis.example:6379/0")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisStoreOptions {
    /// The prefix of every key and of every channel; `app-runtime-leases:` by default. The lease's name follows it. At most 255
    /// bytes of printable ASCII without spaces.
    ///
    /// Two stores with different prefixes share nothing, unless one prefix is the beginning of the other. Channels belong to the
    /// server, not to a database: stores in two databases with the same prefix wake each other's waiters needlessly.
    pub key_prefix: String,
    /// How long the record of a name is kept after the deadline of its last grant; a day by default, at least a second. During
    /// this time its nonce stays spent (S13) and its token is remembered (S9). Afterwards tokens rise with the server's clock
    /// (S10).
    pub retention: Duration,
    /// Whether waiters are notified of releases by a subscription; on by default. The first waiter opens a connection for it.
    /// Without it, waiters poll.
    pub notifications: bool,
    /// The time limit of one command; 5 s by default. Most callers give up earlier.
    pub command_timeout: Duration,
    /// The time limit of [`RedisStoreOptions::connect`], and of each later attempt to connect; 5 s by default.
    pub connect_timeout: Duration,
    /// Whether a server is accepted that may evict keys when its memory is full. Off by default: an evicted lease can be granted
    /// to another holder while the first one still holds it.
    pub accept_eviction: bool,
    /// Whether grants and renewals must be confirmed by replicas. Off by default. This narrows what a fail-over can lose; it does
    /// not make Redis a consensus service. In a Cluster it applies to the replicas of each primary.
    pub wait_replicas: Option<WaitReplicas>,
    pub(crate) user: Option<(String, String)>,
    pub(crate) certificates: Certificates,
}

/// The confirmation of grants and renewals by replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitReplicas {
    /// The number of replicas that must confirm; at least 1.
    pub count: u32,
    /// The time limit of the confirmation; from 1 ms to 60 s. It must be less than a sixth of each ttl, which is the time limit
    /// of an attempt to acquire. All other operations wait meanwhile: they share the connection.
    pub timeout: Duration,
}

impl Default for RedisStoreOptions {
    fn default() -> Self {
        Self {
            key_prefix: "app-runtime-leases:".to_owned(),
            retention: Duration::from_secs(24 * 3600),
            notifications: true,
            command_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            accept_eviction: false,
            wait_replicas: None,
            user: None,
            certificates: Certificates::default(),
        }
    }
}

impl fmt::Debug for RedisStoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password and the private key.
        f.debug_struct("RedisStoreOptions")
            .field("key_prefix", &self.key_prefix)
            .field("retention", &self.retention)
            .field("notifications", &self.notifications)
            .field("command_timeout", &self.command_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("accept_eviction", &self.accept_eviction)
            .field("wait_replicas", &self.wait_replicas)
            .field("user", &self.user.as_ref().map(|(user, _)| user))
            .finish_non_exhaustive()
    }
}

impl RedisStoreOptions {
    /// Returns the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`RedisStoreOptions::key_prefix`].
    #[must_use]
    pub fn with_key_prefix(self, key_prefix: impl Into<String>) -> Self {
        Self { key_prefix: key_prefix.into(), ..self }
    }

    /// Sets [`RedisStoreOptions::retention`].
    #[must_use]
    pub fn with_retention(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    /// Sets [`RedisStoreOptions::notifications`].
    #[must_use]
    pub fn with_notifications(self, notifications: bool) -> Self {
        Self { notifications, ..self }
    }

    /// Sets [`RedisStoreOptions::command_timeout`].
    #[must_use]
    pub fn with_command_timeout(self, command_timeout: Duration) -> Self {
        Self { command_timeout, ..self }
    }

    /// Sets [`RedisStoreOptions::connect_timeout`].
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// Sets [`RedisStoreOptions::accept_eviction`].
    #[must_use]
    pub fn with_accept_eviction(self, accept_eviction: bool) -> Self {
        Self { accept_eviction, ..self }
    }

    /// Sets [`RedisStoreOptions::wait_replicas`].
    #[must_use]
    pub fn with_wait_replicas(self, count: u32, timeout: Duration) -> Self {
        Self { wait_replicas: Some(WaitReplicas { count, timeout }), ..self }
    }

    /// Sets the user and the password, in place of those of the URL. They are not percent-encoded. For a server that has only a
    /// password, the user is `default`.
    #[must_use]
    pub fn with_user(self, user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: Some((user.into(), password.into())), ..self }
    }

    /// Sets the certificate of the only authority to trust, in PEM. Without it, the authorities of the system are trusted if the
    /// URL is `rediss://`.
    #[must_use]
    pub fn with_ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.authority = Some(pem.into());
        self
    }

    /// Sets the certificate of the client and its private key, in PEM. Needs [`RedisStoreOptions::with_ca_certificate`] as well.
    #[must_use]
    pub fn with_client_certificate(mut self, certificate_pem: impl Into<Vec<u8>>, key_pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.client = Some((certificate_pem.into(), key_pem.into()));
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let invalid = |message: &'static str| Err(redis_error(ErrorKind::Invalid, "connect", message));
        if self.key_prefix.len() > 255 || !self.key_prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            return invalid("key_prefix must be at most 255 bytes of printable ASCII without spaces");
        }
        if self.retention < Duration::from_secs(1) || self.retention > Duration::from_secs(10 * 366 * 24 * 3600) {
            return invalid("retention must be between 1 s and 10 years");
        }
        if self.command_timeout < Duration::from_millis(1) || self.connect_timeout < Duration::from_millis(1) {
            return invalid("command_timeout and connect_timeout must be at least 1 ms");
        }
        match self.wait_replicas {
            Some(wait) if wait.count == 0 => invalid("wait_replicas needs at least 1 replica"),
            Some(wait) if !(1..=60_000).contains(&wait.timeout.as_millis()) => {
                invalid("the timeout of wait_replicas must be between 1 ms and 60 s: zero would wait forever")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_options_are_refused() {
        let options = RedisStoreOptions::new;
        assert!(options().validate().is_ok());
        assert!(options().with_key_prefix("").validate().is_ok());
        for (options, word) in [
            (options().with_key_prefix("a b"), "key_prefix"),
            (options().with_key_prefix("x".repeat(256)), "key_prefix"),
            (options().with_retention(Duration::from_millis(999)), "retention"),
            (options().with_command_timeout(Duration::ZERO), "command_timeout"),
            (options().with_wait_replicas(0, Duration::from_secs(1)), "replica"),
            (options().with_wait_replicas(1, Duration::ZERO), "timeout"),
        ] {
            let error = options.validate().unwrap_err();
            assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(word), "{error}");
        }
    }
}
