use std::{env, time::Duration};

use async_trait::async_trait;
use lease_consul::{ConsulStore, ConsulStoreOptions};
use lease_core::{Error, ErrorKind, Result};

use super::document::count;
use crate::{Admin, Opened};

/// The variable in which Consul's own programs look for the token.
const TOKEN: &str = "CONSUL_HTTP_TOKEN";

pub(crate) async fn open(url: &str) -> Result<Opened> {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let http = match scheme {
        "consul" => "http",
        "consuls" => "https",
        _ => "",
    };
    if http.is_empty() || host.is_empty() || host.contains('@') || rest.contains(['?', '#']) {
        let message = "this is no URL of Consul: write consul://host:port/prefix, or consuls: for TLS, with the \
                       token in CONSUL_HTTP_TOKEN";
        return Err(Error::new(ErrorKind::Invalid, "open", message));
    }
    let mut options = ConsulStoreOptions::new();
    if !prefix.is_empty() {
        options = options.with_key_prefix(format!("{}/", prefix.trim_end_matches('/')));
    }
    if let Ok(token) = env::var(TOKEN) {
        options = options.with_token(token);
    }
    Ok(Opened::new(options.connect(&format!("{http}://{host}")).await?))
}

#[async_trait]
impl Admin for ConsulStore {
    async fn purge(&self, older_than: Duration) -> Result<u64> {
        ConsulStore::purge(self, "", older_than).await.map(count)
    }
}
