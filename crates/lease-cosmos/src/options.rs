//! The options of a store.

use std::{fmt, future::Future, time::Duration};

use lease_core::{ErrorKind, ExpiryJudge, Result};

use crate::{credential::Credential, error::store_error};

/// The options of a [`CosmosStore`](crate::CosmosStore).
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use lease_cosmos::CosmosStoreOptions;
///
/// let store = CosmosStoreOptions::new()
///     .with_key(std::env::var("COSMOS_KEY")?)
///     .connect("https://account.documents.azure.com", "operations", "leases")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct CosmosStoreOptions {
    /// The time limit for a connection to the service; 5 s by default. It must be greater than zero.
    pub connect_timeout: Duration,
    /// Who judges expiry: by default the clocks of the service's servers, which are assumed to agree within twice a slack of 2 s.
    /// Leases are taken over later by twice the slack if the clocks agree, by up to four times the slack if they do not, and by up to
    /// 2 s more, because answers show whole seconds. All processes that share the leases need the same setting.
    ///
    /// * [`ServersWallClocks`](ExpiryJudge::ServersWallClocks) sets another slack.
    /// * [`Contenders`](ExpiryJudge::Contenders) believes no clock: a contender takes over what it has itself observed unchanged
    ///   (S2), and one that tries once never does.
    pub expiry_judge: ExpiryJudge,
    /// How often a waiter looks whether a name is free: from this to twice this; 5 s by default, and at least 100 ms. Each look is a
    /// request, which is charged. A waiter wins that much later after a release.
    pub poll_interval: Duration,
    credential: Option<Secret>,
    pub(crate) ca_certificate: Option<Vec<u8>>,
}

#[derive(Clone)]
enum Secret {
    Key(String),
    Tokens(Credential),
}

impl Default for CosmosStoreOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            expiry_judge: ExpiryJudge::ServersWallClocks { slack: Duration::from_secs(2) },
            poll_interval: Duration::from_secs(5),
            credential: None,
            ca_certificate: None,
        }
    }
}

impl CosmosStoreOptions {
    /// Creates the default options, without a credential.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`CosmosStoreOptions::connect_timeout`].
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// Sets [`CosmosStoreOptions::expiry_judge`].
    #[must_use]
    pub fn with_expiry_judge(self, expiry_judge: ExpiryJudge) -> Self {
        Self { expiry_judge, ..self }
    }

    /// Sets [`CosmosStoreOptions::poll_interval`].
    #[must_use]
    pub fn with_poll_interval(self, poll_interval: Duration) -> Self {
        Self { poll_interval, ..self }
    }

    /// Sets the primary or secondary key of the account. It replaces a token provider.
    #[must_use]
    pub fn with_key(self, key: impl Into<String>) -> Self {
        Self { credential: Some(Secret::Key(key.into())), ..self }
    }

    /// Sets a function that returns a token of Entra ID for the account, with the scope `https://ACCOUNT.documents.azure.com/.default`.
    /// It replaces a key. It is called for each request, so it should keep a token until shortly before its end. Its error is the
    /// error of the request, which is then not sent: let it be [`Unavailable`](ErrorKind::Unavailable) if a later call may succeed.
    ///
    /// The identity needs the role `Cosmos DB Built-in Data Contributor` on the container.
    #[must_use]
    pub fn with_token_provider<F, T>(self, provider: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String>> + Send + 'static,
    {
        Self { credential: Some(Secret::Tokens(Credential::tokens(provider))), ..self }
    }

    /// Sets the certificate authorities, in PEM, that the store trusts, and no others: for an emulator. Without it the store trusts
    /// those of the system.
    #[must_use]
    pub fn with_ca_certificate(self, pem: impl Into<Vec<u8>>) -> Self {
        Self { ca_certificate: Some(pem.into()), ..self }
    }

    pub(crate) fn credential(&self) -> Result<Credential> {
        match &self.credential {
            Some(Secret::Key(key)) => Credential::key(key),
            Some(Secret::Tokens(tokens)) => Ok(tokens.clone()),
            None => {
                let message = "there is no credential: set one by `with_key` or `with_token_provider`";
                Err(store_error(ErrorKind::Invalid, "connect", message))
            }
        }
    }

    /// Returns the slack of the clocks of the servers.
    pub(crate) fn slack(&self) -> Result<Duration> {
        match self.expiry_judge {
            ExpiryJudge::ServersWallClocks { slack } => Ok(slack),
            ExpiryJudge::Contenders => Ok(Duration::ZERO),
            _ => {
                let message =
                    "expiry can be judged by ServersWallClocks, because many servers answer, or by Contenders";
                Err(store_error(ErrorKind::Invalid, "connect", message))
            }
        }
    }
}

impl fmt::Debug for CosmosStoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Prints no key.
        f.debug_struct("CosmosStoreOptions")
            .field("connect_timeout", &self.connect_timeout)
            .field("expiry_judge", &self.expiry_judge)
            .field("poll_interval", &self.poll_interval)
            .field("has_credential", &self.credential.is_some())
            .field("has_ca_certificate", &self.ca_certificate.is_some())
            .finish()
    }
}
