//! How a store is configured.

use std::{fmt, time::Duration};

use fred::{clients::Client, prelude::Pool};
use lease_core::{ErrorKind, Result};

use crate::{RedisStore, connections::Connections, error::here, store::Inner, tls::Certificates, url};

/// How a [`RedisStore`] is configured: plain data.
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
    /// What every key begins with; `app-runtime-leases:` by default. The rest of the key is the lease's name. It is also what
    /// the channels of the hints begin with. At most 255 bytes of printable ASCII without spaces. Two stores whose prefixes
    /// differ share nothing, unless one prefix is the beginning of the other. Channels are those of the server, not of a
    /// database: stores in two databases with one prefix wake each other's waiters in vain.
    pub key_prefix: String,
    /// How long the record of a name is kept after its last grant has ended, or would have without a release; a day by default,
    /// at least a second. So long its nonce stays spent (S13), and its token is known (S9); afterwards tokens rise with the
    /// server's clock (S10).
    pub retention: Duration,
    /// Whether waiters are told of releases by a subscription, on a connection of its own that the first waiter opens. On by
    /// default. Without it, waiters poll.
    pub notifications: bool,
    /// How long one command may take; 5 s by default. Most calls are given up earlier, by whoever waits for them.
    pub command_timeout: Duration,
    /// How long [`RedisStoreOptions::connect`], and each later attempt to connect, may take; 5 s by default.
    pub connect_timeout: Duration,
    /// Whether a server that may evict keys when its memory is full is accepted. Off by default: an evicted lease is free for
    /// everybody while its holder still holds it.
    pub accept_eviction: bool,
    /// Whether grants and renewals count only once replicas have them. Off by default. It narrows what a fail-over can lose;
    /// it does not make Redis a consensus service. In a Cluster it is for the replicas of each primary.
    pub wait_replicas: Option<WaitReplicas>,
    user: Option<(String, String)>,
    certificates: Certificates,
}

/// How many replicas must have a grant or a renewal, and how long that may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitReplicas {
    /// At least 1.
    pub count: u32,
    /// From 1 ms up, and less than a sixth of each ttl: an attempt to acquire takes no longer than that. All operations wait behind it: they share a connection.
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
        // Neither the password nor a key.
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
    /// The defaults.
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

    /// Logs in with this user and password, whatever is in the URL: here nothing has to be percent-encoded. Where a server has a
    /// password only, the user is `default`.
    #[must_use]
    pub fn with_user(self, user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: Some((user.into(), password.into())), ..self }
    }

    /// Trusts servers with a certificate of this authority, in PEM, and no others. Without it, the system's authorities are
    /// trusted where the URL is `rediss://`.
    #[must_use]
    pub fn with_ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.authority = Some(pem.into());
        self
    }

    /// Shows servers this certificate, in PEM, with its private key. It goes with [`RedisStoreOptions::with_ca_certificate`].
    #[must_use]
    pub fn with_client_certificate(mut self, certificate_pem: impl Into<Vec<u8>>, key_pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.client = Some((certificate_pem.into(), key_pem.into()));
        self
    }

    /// Connects with a client of the store's own, and checks the server: see [`RedisStore::check`]. Its warnings are logged.
    ///
    /// | | |
    /// |---|---|
    /// | one server | `redis://user:password@host:port/database` |
    /// | Sentinel | `redis-sentinel://user:password@sentinel:26379/database?sentinelServiceName=name&node=sentinel2:26379` |
    /// | Cluster | `redis-cluster://user:password@host:port?node=host2:port` |
    ///
    /// More hosts are more `node` parameters; an address of IPv6 is in brackets. Of a Cluster, and of sentinels, one is enough
    /// that can be reached.
    ///
    /// `rediss://`, `rediss-sentinel://` and `rediss-cluster://` speak TLS and trust the certificates of the system; `valkey`
    /// stands for `redis` everywhere. `sentinelUsername` and `sentinelPassword` are for sentinels that ask for them.
    ///
    /// # Errors
    ///
    /// `Invalid`: the URL, an option or a certificate cannot be, there is no such database, or the server evicts keys. `Denied`: the server
    /// refuses the user or the password. `Unsupported`: the server is too old; the error says which version is needed.
    /// `Unavailable`: there is no answer, or the server is a replica. No error repeats the URL or the password.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind when it is dropped.
    pub async fn connect(&self, url: &str) -> Result<RedisStore> {
        self.validate()?;
        let mut config = url::parse(url).ok_or_else(|| {
            // The URL is not repeated, nor what the parser says of it: it has the password in it.
            here(ErrorKind::Invalid, "connect", url::HOW_TO_WRITE_IT)
        })?;
        if let Some((user, password)) = &self.user {
            (config.username, config.password) = (Some(user.clone()), Some(password.clone()));
        }
        self.certificates.apply_to(&mut config)?;
        let store = RedisStore::new(Inner::new(self, Connections::open(config, self).await?));
        store.0.preflight().before_a_call(true).await?;
        Ok(store)
    }

    /// Uses a client that the application has, and has connected. One of a Cluster is not used itself, since the driver mixes up
    /// answers when it follows a redirection, and leaves all servers when one is lost: it only says how to connect. The store
    /// connects at the first call, as the same user.
    ///
    /// Commands get this store's own timeout, and are not repeated by the client. Where the client's connection hangs, so that
    /// not even a `PING` is answered, it is made to connect again (S24); so it is where it leads to a replica for longer than a
    /// second, or gives the answer to one command to another one (S25). The server is checked at the first call: see
    /// [`RedisStore::check`]. The subscription has a connection of its own with the same configuration.
    ///
    /// # Errors
    ///
    /// `Invalid`: an option cannot be.
    pub fn with_client(&self, client: Client) -> Result<RedisStore> {
        self.borrow(vec![client])
    }

    /// Uses a pool that the application has, as [`RedisStoreOptions::with_client`] does a client.
    ///
    /// # Errors
    ///
    /// As [`RedisStoreOptions::with_client`].
    pub fn with_pool(&self, pool: &Pool) -> Result<RedisStore> {
        self.borrow(pool.clients().to_vec())
    }

    fn borrow(&self, clients: Vec<Client>) -> Result<RedisStore> {
        self.validate()?;
        Ok(RedisStore::new(Inner::new(self, Connections::borrow(clients, self))))
    }

    fn validate(&self) -> Result<()> {
        let invalid = |message: &'static str| Err(here(ErrorKind::Invalid, "connect", message));
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
                invalid("the timeout of wait_replicas must be between 1 ms and 60 s: zero would wait for ever")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused() {
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
