//! The options of a store.

use std::{fmt, time::Duration};

/// The options of a [`ConsulStore`](crate::ConsulStore).
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use lease_consul::ConsulStoreOptions;
///
/// let store = ConsulStoreOptions::new()
///     .with_token(std::env::var("CONSUL_HTTP_TOKEN")?)
///     .with_ca_certificate(std::fs::read("/etc/consul.d/ca.pem")?)
///     .with_key_prefix("billing/leases/")
///     .connect("https://127.0.0.1:8501")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ConsulStoreOptions {
    /// The prefix of all keys; `app-runtime-leases/` by default. It consists of letters, digits and `-._~/`, and should end with a
    /// slash. Two stores with different prefixes share nothing, unless one prefix begins with the other. Keep other keys out of it:
    /// the watch reads all keys below the prefix.
    pub key_prefix: String,
    /// The time limit for a connection to the agent; 2 s by default. It must be greater than zero. The checks of
    /// [`connect`](Self::connect) have 5 s more.
    pub connect_timeout: Duration,
    /// The datacenter whose servers keep the leases; by default that of the agent.
    pub datacenter: Option<String>,
    /// The namespace of the keys, in Consul Enterprise.
    pub namespace: Option<String>,
    /// The admin partition of the keys, in Consul Enterprise.
    pub partition: Option<String>,
    /// The slack within which the clocks of the agents are trusted to judge expiry; `None`, the default, trusts none. See
    /// [`with_trusted_clocks`](Self::with_trusted_clocks).
    pub trusted_clocks: Option<Duration>,
    pub(crate) token: Option<String>,
    pub(crate) ca_certificate: Option<Vec<u8>>,
    pub(crate) client_certificate: Option<(Vec<u8>, Vec<u8>)>,
}

impl Default for ConsulStoreOptions {
    fn default() -> Self {
        Self {
            key_prefix: "app-runtime-leases/".to_owned(),
            connect_timeout: Duration::from_secs(2),
            datacenter: None,
            namespace: None,
            partition: None,
            trusted_clocks: None,
            token: None,
            ca_certificate: None,
            client_certificate: None,
        }
    }
}

impl ConsulStoreOptions {
    /// A slack for [`with_trusted_clocks`](Self::with_trusted_clocks) that suits hosts with a time service: 2 s.
    pub const CLOCK_SLACK: Duration = Duration::from_secs(2);

    /// Creates the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`ConsulStoreOptions::key_prefix`].
    #[must_use]
    pub fn with_key_prefix(self, key_prefix: impl Into<String>) -> Self {
        Self { key_prefix: key_prefix.into(), ..self }
    }

    /// Sets [`ConsulStoreOptions::connect_timeout`].
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// Sets [`ConsulStoreOptions::datacenter`].
    #[must_use]
    pub fn with_datacenter(self, datacenter: impl Into<String>) -> Self {
        Self { datacenter: Some(datacenter.into()), ..self }
    }

    /// Sets [`ConsulStoreOptions::namespace`].
    #[must_use]
    pub fn with_namespace(self, namespace: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), ..self }
    }

    /// Sets [`ConsulStoreOptions::partition`].
    #[must_use]
    pub fn with_partition(self, partition: impl Into<String>) -> Self {
        Self { partition: Some(partition.into()), ..self }
    }

    /// Lets the time in the agents' answers judge expiry, in place of the observation of each contender (S3). A process that tries
    /// once can then take over from a holder that has crashed.
    ///
    /// **This compares the clocks of the hosts whose agents answer.** It is sound only while all of them agree within twice this
    /// slack. If they differ by more, a name can have two holders at once. An application usually asks the agent on its own host,
    /// so trust the clocks only if the address is that of the Consul servers, or if every host has a time service. Leases are
    /// taken over later by twice the slack if the clocks agree, by up to four times the slack if they do not, and by up to 2 s more,
    /// because answers show whole seconds.
    ///
    /// All processes that share the leases need the same setting. [`CLOCK_SLACK`](Self::CLOCK_SLACK) is a slack to begin with.
    #[must_use]
    pub fn with_trusted_clocks(self, slack: Duration) -> Self {
        Self { trusted_clocks: Some(slack), ..self }
    }

    /// Sets the ACL token. It needs a policy with `key_prefix "app-runtime-leases/" { policy = "write" }`, for the prefix of
    /// [`key_prefix`](Self::key_prefix). Without a token the rules of Consul's anonymous token apply.
    #[must_use]
    pub fn with_token(self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self }
    }

    /// Sets the certificate authorities, in PEM, that the store trusts, and no others. Without it the store trusts those of the
    /// system.
    #[must_use]
    pub fn with_ca_certificate(self, pem: impl Into<Vec<u8>>) -> Self {
        Self { ca_certificate: Some(pem.into()), ..self }
    }

    /// Sets the client certificate and its private key, in PEM, that the store presents to the agent.
    #[must_use]
    pub fn with_client_certificate(self, certificate_pem: impl Into<Vec<u8>>, key_pem: impl Into<Vec<u8>>) -> Self {
        Self { client_certificate: Some((certificate_pem.into(), key_pem.into())), ..self }
    }

    pub(crate) fn has_certificates(&self) -> bool {
        self.ca_certificate.is_some() || self.client_certificate.is_some()
    }
}

impl fmt::Debug for ConsulStoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Prints neither the token nor the private key.
        f.debug_struct("ConsulStoreOptions")
            .field("key_prefix", &self.key_prefix)
            .field("connect_timeout", &self.connect_timeout)
            .field("datacenter", &self.datacenter)
            .field("namespace", &self.namespace)
            .field("partition", &self.partition)
            .field("trusted_clocks", &self.trusted_clocks)
            .field("has_token", &self.token.is_some())
            .field("has_ca_certificate", &self.ca_certificate.is_some())
            .field("has_client_certificate", &self.client_certificate.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_printed() {
        let options = ConsulStoreOptions::new().with_token("hunter2").with_client_certificate("a", "private key");
        let printed = format!("{options:?}");
        assert!(!printed.contains("hunter2") && !printed.contains("private key"), "{printed}");
        assert!(printed.contains("has_token: true"), "{printed}");
    }
}
