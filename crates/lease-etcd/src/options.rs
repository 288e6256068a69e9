//! The options of a store.

use std::{fmt, time::Duration};

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use lease_core::{ErrorKind, Result};
use tonic::codegen::http::Uri;

use crate::{connector::Endpoints, error::store_error};

/// The options of an [`EtcdStore`](crate::EtcdStore).
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
    /// The prefix of all keys; `app-runtime-leases/` by default. It must not be empty, and must not contain blanks or control
    /// characters. Two stores with different prefixes share nothing, unless one prefix begins with the other.
    pub key_prefix: String,
    /// The time limit of a call, with all its attempts; 5 s by default. It must be greater than zero. Calls that a lease
    /// client makes for its leases end earlier, by the ttl of the lease.
    pub request_timeout: Duration,
    /// The time limit for connecting to one endpoint; 2 s by default. It must be greater than zero. With several endpoints,
    /// each one has at most an equal share of [`EtcdStoreOptions::request_timeout`]. A login may take as long as a call.
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

/// The interval of HTTP/2 pings on a silent connection, and the time limit for their answers. A server closes connections with
/// pings more often than every 5 s (`--grpc-keepalive-min-time`).
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

impl EtcdStoreOptions {
    /// Creates the default options.
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

    /// Sets the user and the password to log in with. The store logs in again when its token expires.
    #[must_use]
    pub fn with_user(self, user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: Some((user.into(), password.into())), ..self }
    }

    /// Sets the certificate authority, in PEM, that the store trusts, and no other. Without it, the store trusts the
    /// authorities of the system for `https://` endpoints.
    #[must_use]
    pub fn with_ca_certificate(self, pem: impl Into<Vec<u8>>) -> Self {
        Self { ca_certificate: Some(pem.into()), ..self }
    }

    /// Sets the client certificate and its private key, in PEM, that the store presents to the servers.
    #[must_use]
    pub fn with_client_certificate(self, certificate_pem: impl Into<Vec<u8>>, key_pem: impl Into<Vec<u8>>) -> Self {
        Self { client_certificate: Some((certificate_pem.into(), key_pem.into())), ..self }
    }

    /// Sets the name that the servers' certificates must have, instead of the host of the endpoint.
    #[must_use]
    pub fn with_server_name(self, server_name: impl Into<String>) -> Self {
        Self { server_name: Some(server_name.into()), ..self }
    }

    /// Returns the endpoints with these addresses, to be connected to as these options say.
    pub(crate) fn endpoints<E: AsRef<str>>(&self, endpoints: impl IntoIterator<Item = E>) -> Result<Endpoints> {
        let urls: Vec<_> = endpoints.into_iter().map(|endpoint| self.url(endpoint.as_ref())).collect::<Result<_>>()?;
        self.check()?;
        if urls.is_empty() {
            return Err(store_error(ErrorKind::Invalid, "connect", "there must be at least one endpoint"));
        }
        let is_secure = urls.iter().any(|url| url.starts_with("https://"));
        if urls.iter().any(|url| url.starts_with("https://") != is_secure) {
            return Err(store_error(ErrorKind::Invalid, "connect", "either all endpoints must be https:// or none"));
        }
        if !is_secure && self.has_certificates() {
            let message = "certificates are set, but the endpoints are http://: use https:// endpoints";
            return Err(store_error(ErrorKind::Invalid, "connect", message));
        }
        Ok(Endpoints {
            options: self.connect_options(is_secure),
            user: self.user.clone(),
            // An endpoint that does not answer leaves time for the others.
            connect_timeout: self
                .connect_timeout
                .min(self.request_timeout / u32::try_from(urls.len()).unwrap_or(u32::MAX)),
            login_timeout: self.connect_timeout.max(self.request_timeout),
            urls,
        })
    }

    /// Checks the options that do not depend on the endpoints.
    pub(crate) fn check(&self) -> Result<()> {
        let is_bad = |letter: char| letter.is_whitespace() || letter.is_control();
        let user = self.user.as_ref().map(|(user, _)| user);
        let message = if self.key_prefix.is_empty() {
            "the key prefix must not be empty"
        } else if self.key_prefix.contains(is_bad) {
            "the key prefix must not contain blanks or control characters"
        } else if self.request_timeout.is_zero() {
            "the request timeout must be greater than zero"
        } else if self.connect_timeout.is_zero() {
            "the connect timeout must be greater than zero"
        } else if user.is_some_and(String::is_empty) {
            "the user name must not be empty"
        } else {
            return Ok(());
        };
        Err(store_error(ErrorKind::Invalid, "connect", message))
    }

    fn connect_options(&self, is_secure: bool) -> ConnectOptions {
        let options = ConnectOptions::new()
            // A member without a leader then returns an error, instead of letting calls and watches hang.
            .with_require_leader(true)
            .with_keep_alive(PING_INTERVAL, PING_TIMEOUT)
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

    /// Returns the URL of an endpoint. No error contains the endpoint, because it may contain a password.
    fn url(&self, endpoint: &str) -> Result<String> {
        let invalid = |message: &'static str| store_error(ErrorKind::Invalid, "connect", message);
        let (scheme, address) = match endpoint.split_once("://") {
            Some(("http", address)) => ("http", address),
            Some(("https", address)) => ("https", address),
            Some(_) => return Err(invalid("an endpoint must begin with http:// or https://")),
            None if self.has_certificates() => ("https", endpoint),
            None => ("http", endpoint),
        };
        let address = address.strip_suffix('/').unwrap_or(address);
        if address.contains('@') {
            return Err(invalid("an endpoint contains a user or a password: set them with `with_user`"));
        }
        if address.contains(['/', '?', '#']) {
            return Err(invalid("an endpoint has a path: it must be only a host and a port"));
        }
        let url = format!("{scheme}://{address}");
        match url.parse::<Uri>() {
            Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => Ok(url),
            _ => Err(invalid("an endpoint is not a URL: write it as http://host:port")),
        }
    }

    fn has_certificates(&self) -> bool {
        self.ca_certificate.is_some() || self.client_certificate.is_some() || self.server_name.is_some()
    }
}

impl fmt::Debug for EtcdStoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Prints neither the password nor the private key.
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
