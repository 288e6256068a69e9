//! Opens a store, after a check of what it needs.

use std::time::Duration;

use lease_core::{ErrorKind, ExpiryJudge, Result};
use lease_document::{
    DocumentStore,
    http::{Tls, client},
};
use reqwest::{Client, Url, header::HeaderValue};

use crate::{
    ConsulStore, ConsulStoreOptions, STORE, documents::ConsulDocuments, error::store_error, http::Http, keys::Keys,
    kv::Kv,
};

/// How long each check while connecting may take, beyond the time for the connection.
const CHECK: Duration = Duration::from_secs(5);

impl ConsulStore {
    /// Connects to an agent with the default options; see [`ConsulStoreOptions::connect`].
    ///
    /// # Errors
    ///
    /// As for [`ConsulStoreOptions::connect`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing was changed.
    pub async fn connect(address: &str) -> Result<Self> {
        ConsulStoreOptions::new().connect(address).await
    }
}

impl ConsulStoreOptions {
    /// Connects to an agent at `http://host:port` or `https://host:port`, with a path if the API has one behind a gateway.
    ///
    /// It checks that the agent answers, knows the datacenter, and lets the token write below the prefix, by a write that is always
    /// refused. It changes nothing.
    ///
    /// # Errors
    ///
    /// * `Invalid`: the address, the prefix or the certificates are not what they must be, there is no such datacenter, or no Consul
    ///   agent is at this address.
    /// * `Denied`: the token is unknown, or lacks a rule. The message has the rule.
    /// * `Unsupported`: a namespace is set, and the servers are not Consul Enterprise.
    /// * `Unavailable`: the agent does not answer, or the servers have no leader.
    ///
    /// No error contains the token or the address.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing was changed.
    pub async fn connect(&self, address: &str) -> Result<ConsulStore> {
        let base = base(address)?;
        let is_secure = base.scheme() == "https";
        if !is_secure && self.has_certificates() {
            let message = "certificates are set, but the address is http://: use https://";
            return Err(store_error(ErrorKind::Invalid, "connect", message));
        }
        if self.connect_timeout.is_zero() {
            return Err(store_error(ErrorKind::Invalid, "connect", "the connect timeout must be greater than zero"));
        }
        let certificate = self.client_certificate.as_ref();
        let tls = Tls {
            ca_certificate: self.ca_certificate.as_deref(),
            client_certificate: certificate.map(|(certificates, key)| (certificates.as_slice(), key.as_slice())),
        };
        let client = client(self.connect_timeout, is_secure, tls).map_err(|error| error.in_store(STORE))?;
        self.open(client, base).await
    }

    /// Like [`connect`](Self::connect), through the application's HTTP client. Of these options those of TLS and the
    /// [`connect_timeout`](Self::connect_timeout) do not apply.
    ///
    /// Let the client follow no redirection and repeat nothing: `redirect(Policy::none())`, `retry(retry::never())`. Give it a
    /// connect timeout, and no read timeout below 20 s. With HTTP/2, a request that was given up leaves its connection in use.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing was changed.
    pub async fn connect_with(&self, client: Client, address: &str) -> Result<ConsulStore> {
        self.open(client, base(address)?).await
    }

    async fn open(&self, client: Client, base: Url) -> Result<ConsulStore> {
        let named = [("dc", &self.datacenter), ("ns", &self.namespace), ("partition", &self.partition)];
        let parameters = named.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
        let mut http = Http::new(client, base, parameters);
        if let Some(token) = &self.token {
            // Without the source, which has the token.
            let token = HeaderValue::from_str(token).map_err(|_| {
                let message = "the token has characters that no header can have, such as a line break at its end: set it without them";
                store_error(ErrorKind::Invalid, "connect", message)
            })?;
            http = http.with_token(token);
        }
        let (namespace, partition) = (self.namespace.clone(), self.partition.clone());
        let kv = Kv { http, keys: Keys::new(&self.key_prefix)?, namespace, partition };
        kv.check(self.connect_timeout.saturating_add(CHECK)).await?;
        let mut store = DocumentStore::builder(ConsulDocuments::new(kv));
        if let Some(slack) = self.trusted_clocks {
            store = store.expiry_judge(ExpiryJudge::ServersWallClocks { slack });
        }
        Ok(ConsulStore(store.build()))
    }
}

/// Parses an address. No error contains it, because it may have a password.
fn base(address: &str) -> Result<Url> {
    let invalid = |message: &'static str| store_error(ErrorKind::Invalid, "connect", message);
    let url = Url::parse(address).map_err(|_| invalid("the address is no URL: write it as http://host:8500"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(invalid("the address must begin with http:// or https://, and name a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("the address contains a user or a password: set the token with `with_token`"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("the address has parameters: set them by the options"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port() {
        assert_eq!(base("http://127.0.0.1:8500").unwrap().as_str(), "http://127.0.0.1:8500/");
        assert_eq!(base("https://gateway/consul/").unwrap().path(), "/consul/");
        for bad in [
            "",
            "127.0.0.1:8500",
            "consul",
            "ftp://host",
            "http://",
            "http://root:hunter2@host",
            "http://hunter2@host",
            "http://host?token=hunter2",
            "http://host#hunter2",
        ] {
            let error = base(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
