use std::{env, time::Duration};

use async_trait::async_trait;
use lease_core::{Error, ErrorKind, Result};
use lease_cosmos::{CosmosStore, CosmosStoreOptions};
use percent_encoding::percent_decode_str;

use super::document::count;
use crate::{Admin, Opened};

/// The variable with the key of the account, unless it is in the URL, where its `/`, `+` and `=` are percent-encoded.
const KEY: &str = "COSMOS_KEY";

const FORM: &str = "this is no URL of Cosmos DB: write cosmos://ACCOUNT.documents.azure.com/database/container with the key in \
                    COSMOS_KEY, or cosmos://:KEY@ACCOUNT.documents.azure.com/database/container with the key percent-encoded";

pub(crate) async fn open(url: &str) -> Result<Opened> {
    let invalid = |message: &'static str| Error::new(ErrorKind::Invalid, "open", message);
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let http = match scheme {
        "cosmos" => "https",
        "cosmos+http" => "http",
        _ => "",
    };
    let (key, rest) = match rest.split_once('@') {
        Some((user, rest)) => (user.strip_prefix(':'), rest),
        None => (Some(""), rest),
    };
    let parts: Vec<_> = rest.split('/').collect();
    let (Some(key), &[host, database, container]) = (key, &parts[..]) else { return Err(invalid(FORM)) };
    if http.is_empty() || host.is_empty() || rest.contains(['@', '?', '#']) {
        return Err(invalid(FORM));
    }
    let key = match key {
        "" => env::var(KEY).map_err(|_| {
            invalid("the URL has no key: set COSMOS_KEY to the primary or secondary key of the account")
        })?,
        key => percent_decode_str(key).decode_utf8_lossy().into_owned(),
    };
    let options = CosmosStoreOptions::new().with_key(key);
    Ok(Opened::new(options.connect(&format!("{http}://{host}"), database, container).await?))
}

#[async_trait]
impl Admin for CosmosStore {
    async fn purge(&self, older_than: Duration) -> Result<u64> {
        CosmosStore::purge(self, "", older_than).await.map(count)
    }
}
