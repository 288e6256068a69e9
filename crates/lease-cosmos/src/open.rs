//! Opens a store, after a check of what it needs.

use std::time::Duration;

use lease_core::{ErrorKind, Result};
use lease_document::{
    DocumentStore,
    http::{Tls, client},
};
use reqwest::{Client, Url};

use crate::{
    CosmosStore, CosmosStoreOptions, STORE, documents::CosmosDocuments, error::store_error, http::Http, items::Items,
    session::Session,
};

/// How long each check while connecting may take, beyond the time for the connection.
const CHECK: Duration = Duration::from_secs(5);
const SHORTEST_POLL: Duration = Duration::from_millis(100);

impl CosmosStoreOptions {
    /// Connects to a container of an account at `https://ACCOUNT.documents.azure.com`. Use the endpoint of the account, which
    /// follows a fail-over, and not that of one region.
    ///
    /// It checks the account, which must write in one region and have the default consistency `Session` or stronger, and the
    /// container, whose partition key must be `/id`, and whose items must not be deleted by their age. It changes nothing, and so does
    /// not find out whether the credential may write: the first acquire does.
    ///
    /// # Errors
    ///
    /// * `Invalid`: an argument, the credential or the certificate is not what it must be, there is no such database or container, or
    ///   the container has another partition key, or a time to live.
    /// * `Denied`: the credential is refused.
    /// * `Unsupported`: the account writes in several regions, or its consistency is weaker than `Session`.
    /// * `Unavailable`: the service does not answer.
    ///
    /// No error contains the credential or the endpoint.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing was changed.
    pub async fn connect(&self, endpoint: &str, database: &str, container: &str) -> Result<CosmosStore> {
        if self.connect_timeout.is_zero() {
            return Err(store_error(ErrorKind::Invalid, "connect", "the connect timeout must be greater than zero"));
        }
        let is_secure = base(endpoint)?.scheme() == "https";
        let tls = Tls { ca_certificate: self.ca_certificate.as_deref(), ..Tls::default() };
        let client = client(self.connect_timeout, is_secure, tls).map_err(|error| error.in_store(STORE))?;
        self.connect_with(client, endpoint, database, container).await
    }

    /// Like [`connect`](Self::connect), through the application's HTTP client, to which the certificate and the
    /// [`connect_timeout`](Self::connect_timeout) of these options do not apply.
    ///
    /// Let the client follow no redirection and repeat nothing: `redirect(Policy::none())`, `retry(retry::never())`. With HTTP/2, a
    /// request that was given up leaves its connection in use.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing was changed.
    pub async fn connect_with(
        &self,
        client: Client,
        endpoint: &str,
        database: &str,
        container: &str,
    ) -> Result<CosmosStore> {
        let (base, slack, credential) = (base(endpoint)?, self.slack()?, self.credential()?);
        if ![database, container].into_iter().all(is_id) {
            let message =
                "the database and the container must be ids: printable ASCII characters without / \\ ? # and %";
            return Err(store_error(ErrorKind::Invalid, "connect", message));
        }
        if self.poll_interval < SHORTEST_POLL {
            return Err(store_error(ErrorKind::Invalid, "connect", "the poll interval must be at least 100 ms"));
        }
        let http = Http { client, base, credential, session: Session::default() };
        let items = Items { http, container: format!("dbs/{database}/colls/{container}") };
        items.check(self.connect_timeout.saturating_add(CHECK)).await?;
        let documents = CosmosDocuments::new(items, slack, self.poll_interval);
        Ok(CosmosStore(DocumentStore::builder(documents).expiry_judge(self.expiry_judge).build()))
    }
}

fn is_id(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"/\\?#%".contains(&byte))
}

/// Parses an endpoint. No error contains it, because it may have a key.
fn base(endpoint: &str) -> Result<Url> {
    let invalid = |message: &'static str| store_error(ErrorKind::Invalid, "connect", message);
    let url = Url::parse(endpoint)
        .map_err(|_| invalid("the endpoint is no URL: write it as https://ACCOUNT.documents.azure.com"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(invalid("the endpoint must begin with https://, or with http:// for an emulator, and name a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("the endpoint contains a user or a password: set the key by `with_key`"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("the endpoint has a path or parameters: it must be only a scheme and a host"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_scheme_and_a_host() {
        assert_eq!(base("https://account.documents.azure.com").unwrap().path(), "/");
        assert!(base("http://127.0.0.1:8081/").is_ok());
        for bad in [
            "",
            "account",
            "cosmos://account",
            "https://hunter2@account",
            "https://account/hunter2",
            "https://account?hunter2",
        ] {
            let error = base(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
        assert!(is_id("team leases-1") && ["", "..", "a/b", "a?b", "a%2F", "ä"].into_iter().all(|id| !is_id(id)));
    }
}
