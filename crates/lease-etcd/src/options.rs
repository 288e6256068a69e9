//! How a store is configured.

use std::{fmt, sync::Arc, time::Duration};

use etcd_client::{Certificate, Client, ConnectOptions, GetOptions, Identity, TlsOptions};
use lease_core::{Clock, ErrorKind, Result, SystemClock};
use tonic::codegen::http::Uri;

use crate::{
    EtcdStore,
    buckets::Buckets,
    connecting::Endpoints,
    connections::{Connections, Source},
    error::{Access, Failure, here},
    keys::Keys,
    limits::Limits,
};

/// How an [`EtcdStore`] is configured.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use lease_etcd::EtcdStoreOptions;
///
/// let store = EtcdStoreOptions::new()
///     .with_user("app", std::env::var("ETCD_PASSWORD")?)
///     .with_ca_certificate(std::fs::read("/etc/etcd/ca.pem")?)
///     .connect(["https://etcd-1:2379", "https://etcd-2:2379", "https://etcd-3:2379"])
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct EtcdStoreOptions {
    /// What all keys begin with; `app-runtime-leases/` by default. Two stores whose prefixes differ share nothing, unless one
    /// prefix is the beginning of the other. It must not be empty, and must have no blanks or control characters.
    pub key_prefix: String,
    /// How long a call may take, all its attempts together; 5 s by default, and more than nothing. The calls of a client end earlier, by its leases'
    /// own timings.
    pub request_timeout: Duration,
    /// How long connecting to an endpoint may take; 2 s by default, and more than nothing. Where there is more than one endpoint
    /// each has its share of [`EtcdStoreOptions::request_timeout`] at the most. A login may take as long as a call.
    pub connect_timeout: Duration,
    user: Option<(String, String)>,
    ca_certificate: Option<Vec<u8>>,
    client_certificate: Option<(Vec<u8>, Vec<u8>)>,
    server_name: Option<String>,
}

impl Default for EtcdStoreOptions {
    fn default() -> Self {
        Self {
            key_prefix: "app-runtime-leases/".to_owned(),
            request_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            user: None,
            ca_certificate: None,
            client_certificate: None,
            server_name: None,
        }
    }
}

/// How often a connection on which nothing comes is tried, and how long the server may take to answer. A server ends
/// connections that are tried more often than every 5 s (`--grpc-keepalive-min-time`).
const HEARTBEAT: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

impl EtcdStoreOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`EtcdStoreOptions::key_prefix`].
    #[must_use]
    pub fn with_key_prefix(self, key_prefix: impl Into<String>) -> Self {
        Self { key_prefix: key_prefix.into(), ..self }
    }

    /// Sets [`EtcdStoreOptions::request_timeout`].
    #[must_use]
    pub fn with_request_timeout(self, request_timeout: Duration) -> Self {
        Self { request_timeout, ..self }
    }

    /// Sets [`EtcdStoreOptions::connect_timeout`].
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// Logs in with this user and password. A token that expires is replaced by a new one.
    #[must_use]
    pub fn with_user(self, user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: Some((user.into(), password.into())), ..self }
    }

    /// Trusts servers with a certificate of this authority, in PEM, and no others. Without it, the system's authorities are
    /// trusted where an endpoint is `https://`.
    #[must_use]
    pub fn with_ca_certificate(self, pem: impl Into<Vec<u8>>) -> Self {
        Self { ca_certificate: Some(pem.into()), ..self }
    }

    /// Shows servers this certificate, in PEM, with its private key.
    #[must_use]
    pub fn with_client_certificate(self, certificate_pem: impl Into<Vec<u8>>, key_pem: impl Into<Vec<u8>>) -> Self {
        Self { client_certificate: Some((certificate_pem.into(), key_pem.into())), ..self }
    }

    /// Expects this name in the servers' certificates, rather than the host of the endpoint.
    #[must_use]
    pub fn with_server_name(self, server_name: impl Into<String>) -> Self {
        Self { server_name: Some(server_name.into()), ..self }
    }

    /// Connects to a cluster.
    ///
    /// An endpoint is `http://host:port`, `https://host:port`, or `host:port`, which is `https` where certificates are set. One
    /// endpoint is used at a time, any of them at first, the next one when it fails: see [`EtcdStore::endpoint`]. The endpoints
    /// stay those that are given here, also when members of the cluster are replaced. The smallest ttl that the servers grant is asked for at once,
    /// with an etcd lease of that ttl.
    ///
    /// # Errors
    ///
    /// `Invalid`: there is no endpoint, one is no such URL, a timeout is zero, the key prefix is not as it must be, or the
    /// certificates cannot be used. `Denied`: the servers refuse the
    /// user or the password. `Unavailable`: no endpoint answers. No error repeats an endpoint or the password.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind when it is dropped but an empty etcd lease of a few seconds.
    pub async fn connect<E: AsRef<str>>(&self, endpoints: impl IntoIterator<Item = E>) -> Result<EtcdStore> {
        let urls: Vec<_> = endpoints.into_iter().map(|endpoint| self.url(endpoint.as_ref())).collect::<Result<_>>()?;
        self.check()?;
        if urls.is_empty() {
            return Err(here(ErrorKind::Invalid, "connect", "there must be an endpoint at least"));
        }
        let is_secure = urls.iter().any(|url| url.starts_with("https://"));
        if urls.iter().any(|url| url.starts_with("https://") != is_secure) {
            return Err(here(ErrorKind::Invalid, "connect", "either all endpoints are https:// or none"));
        }
        if !is_secure && self.has_certificates() {
            return Err(here(ErrorKind::Invalid, "connect", "certificates are set, but the endpoints are http://"));
        }
        let endpoints = Endpoints {
            options: self.connect_options(is_secure),
            user: self.user.clone(),
            // An endpoint that does not answer leaves time for the others.
            connect_timeout: self
                .connect_timeout
                .min(self.request_timeout / u32::try_from(urls.len()).unwrap_or(u32::MAX)),
            login_timeout: self.connect_timeout.max(self.request_timeout),
            urls,
        };
        self.open(Source::Endpoints(Arc::new(endpoints))).await
    }

    /// Uses a client that the application has, and only [`EtcdStoreOptions::key_prefix`] and
    /// [`EtcdStoreOptions::request_timeout`] of these options.
    ///
    /// The client's own settings count, and failing over is up to it: it spreads calls over its endpoints, dead ones too, and
    /// is never replaced. Make it with `with_require_leader(true)`, `with_keep_alive(…)`, `with_connect_timeout(…)`, and, where
    /// there is a user, `with_auto_token_refresh(true)`; or leave that to [`EtcdStoreOptions::connect`].
    ///
    /// # Errors
    ///
    /// `Denied`: the client's user may not do this. `Unavailable`: there is no answer.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind when it is dropped but an empty etcd lease of a few seconds.
    pub async fn with_client(&self, client: Client) -> Result<EtcdStore> {
        self.open(Source::Given(Box::new(client))).await
    }

    async fn open(&self, source: Source) -> Result<EtcdStore> {
        self.check()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let connections = Connections::new(source, clock, self.request_timeout);
        let keys = Keys::new(&self.key_prefix);
        let limits = probe(&connections, &keys).await.map_err(|failure| failure.error)?;
        Ok(EtcdStore::new(connections, keys, limits))
    }

    fn check(&self) -> Result<()> {
        let is_bad = |letter: char| letter.is_whitespace() || letter.is_control();
        let user = self.user.as_ref().map(|(user, _)| user);
        let wrong = if self.key_prefix.is_empty() {
            "the key prefix must not be empty"
        } else if self.key_prefix.contains(is_bad) {
            "the key prefix must have no blanks or control characters"
        } else if self.request_timeout.is_zero() {
            "the request timeout must be greater than zero"
        } else if self.connect_timeout.is_zero() {
            "the connect timeout must be greater than zero"
        } else if user.is_some_and(String::is_empty) {
            "the user's name must not be empty"
        } else {
            return Ok(());
        };
        Err(here(ErrorKind::Invalid, "connect", wrong))
    }

    fn connect_options(&self, is_secure: bool) -> ConnectOptions {
        let options = ConnectOptions::new()
            // A member that has lost its cluster says so, rather than let calls and watches hang.
            .with_require_leader(true)
            .with_keep_alive(HEARTBEAT.0, HEARTBEAT.1)
            .with_keep_alive_while_idle(false)
            .with_connect_timeout(self.connect_timeout);
        if is_secure { options.with_tls(self.tls_options()) } else { options }
    }

    fn tls_options(&self) -> TlsOptions {
        let mut tls = TlsOptions::new().timeout(self.connect_timeout);
        tls = match &self.ca_certificate {
            Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
            None => tls.with_native_roots(),
        };
        if let Some((certificate, key)) = &self.client_certificate {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        match &self.server_name {
            Some(name) => tls.domain_name(name),
            None => tls,
        }
    }

    /// The URL of an endpoint. No error repeats it: it may have been written with a password in it.
    fn url(&self, endpoint: &str) -> Result<String> {
        let (scheme, address) = match endpoint.split_once("://") {
            Some(("http", address)) => ("http", address),
            Some(("https", address)) => ("https", address),
            Some(_) => return Err(here(ErrorKind::Invalid, "connect", "an endpoint is neither http:// nor https://")),
            None if self.has_certificates() => ("https", endpoint),
            None => ("http", endpoint),
        };
        let address = address.strip_suffix('/').unwrap_or(address);
        if address.contains('@') {
            let message = "an endpoint has a user or a password in it: set them with `with_user`";
            return Err(here(ErrorKind::Invalid, "connect", message));
        }
        if address.contains(['/', '?', '#']) {
            return Err(here(
                ErrorKind::Invalid,
                "connect",
                "an endpoint has a path: it must be a host and a port only",
            ));
        }
        let url = format!("{scheme}://{address}");
        match url.parse::<Uri>() {
            Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => Ok(url),
            _ => Err(here(ErrorKind::Invalid, "connect", "an endpoint is no URL")),
        }
    }

    fn has_certificates(&self) -> bool {
        self.ca_certificate.is_some() || self.client_certificate.is_some() || self.server_name.is_some()
    }
}

/// Whether the servers answer and let us in, and what they grant.
async fn probe(connections: &Connections, keys: &Keys) -> Result<Limits, Failure> {
    let (first, end) = keys.all();
    let look = connections.call("connect", Access::Read, |client| {
        let options = GetOptions::new().with_range(end.as_slice()).with_limit(1).with_keys_only();
        let first = first.clone();
        Box::pin(async move { client.kv_client().get(first, Some(options)).await })
    });
    look.await?;
    // The server grants its minimum where less is asked for.
    let smallest = Buckets::new().fresh(connections, "connect", Duration::from_secs(1)).await?;
    let revoke = connections.call("connect", Access::Read, |client| {
        Box::pin(async move { client.lease_client().revoke(smallest.id).await })
    });
    // If it stays, it expires in a moment.
    drop(revoke.await);
    Ok(Limits { min_ttl: smallest.ttl })
}

impl fmt::Debug for EtcdStoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the password nor the private key.
        f.debug_struct("EtcdStoreOptions")
            .field("key_prefix", &self.key_prefix)
            .field("request_timeout", &self.request_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("user", &self.user.as_ref().map(|(user, _)| user))
            .field("has_ca_certificate", &self.ca_certificate.is_some())
            .field("has_client_certificate", &self.client_certificate.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_printed() {
        let options =
            EtcdStoreOptions::new().with_user("app", "hunter2").with_client_certificate("certificate", "private key");
        let printed = format!("{options:?}");
        assert!(
            printed.contains("app") && !printed.contains("hunter2") && !printed.contains("private key"),
            "{printed}"
        );
    }

    #[test]
    fn an_endpoint_without_a_scheme_is_secure_where_certificates_are_set() {
        let options = EtcdStoreOptions::new();
        assert_eq!(options.url("etcd-1:2379").unwrap(), "http://etcd-1:2379");
        assert_eq!(options.url("https://etcd-1:2379/").unwrap(), "https://etcd-1:2379");
        assert_eq!(options.url("[::1]:2379").unwrap(), "http://[::1]:2379");
        assert_eq!(options.with_ca_certificate("pem").url("etcd-1:2379").unwrap(), "https://etcd-1:2379");
    }

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        let options = EtcdStoreOptions::new();
        for bad in [
            "",
            "http://",
            "ftp://etcd-1:2379",
            "http://etcd-1:2379/path",
            "http://etcd-1:2379?x",
            "http://root:hunter2@etcd-1:2379",
            "root:hunter2@etcd-1:2379",
            "http://[",
        ] {
            let error = options.url(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
