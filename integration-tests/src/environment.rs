//! What the environment says about servers.

use std::env;

use url::Url;

use crate::{Azurite, Consul, Cosmos, Etcd, KubeApiserver, Postgres, Redis, ServerError, ZooKeeper};

/// Lists servers that must be there: `LEASE_TEST_REQUIRE=postgres,redis,etcd`.
const REQUIRE: &str = "LEASE_TEST_REQUIRE";

/// Finds or starts each server that `LEASE_TEST_REQUIRE` lists, separated by commas.
///
/// # Errors
///
/// When one is not to be had, or the list has one that this crate does not know.
pub async fn required_servers_are_there() -> Result<(), ServerError> {
    are_there(&env::var(REQUIRE).unwrap_or_default()).await
}

async fn are_there(list: &str) -> Result<(), ServerError> {
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match name {
            "postgres" => drop(Postgres::try_shared().await?),
            "redis" => drop(Redis::try_shared().await?),
            "etcd" => drop(Etcd::try_shared().await?),
            "kubernetes" => drop(KubeApiserver::try_shared().await?),
            "consul" => drop(Consul::try_shared().await?),
            "zookeeper" => drop(ZooKeeper::try_shared().await?),
            "azurite" => drop(Azurite::try_shared().await?),
            "cosmos" => drop(Cosmos::try_shared().await?),
            _ => return Err(ServerError::NoServer(format!("{REQUIRE} lists {name:?}, which nobody knows"))),
        }
    }
    Ok(())
}

/// The URL in this variable, if there is one.
pub(crate) fn server_url(variable: &str) -> Result<Option<Url>, ServerError> {
    match env::var(variable) {
        // The value may have a password in it: it is not shown.
        Ok(url) if !url.is_empty() => match Url::parse(&url) {
            Ok(url) => Ok(Some(url)),
            Err(error) => Err(ServerError::failed(&format!("{variable} is no URL"), error)),
        },
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_misspelt_server_is_an_error() {
        are_there("").await.unwrap();
        let error = are_there(" postgress ,").await.unwrap_err().to_string();
        assert!(error.contains("\"postgress\""), "{error}");
    }
}
