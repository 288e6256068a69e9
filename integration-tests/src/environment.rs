//! What the environment says about servers.

use std::env;

use url::Url;

use crate::ServerError;

/// Lists servers that must be there: `LEASE_TEST_REQUIRE=postgres,redis,etcd`.
const REQUIRE: &str = "LEASE_TEST_REQUIRE";

/// A server that the environment promises to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Required {
    /// PostgreSQL.
    Postgres,
    /// Redis or Valkey.
    Redis,
    /// etcd.
    Etcd,
}

/// The servers that `LEASE_TEST_REQUIRE` lists, separated by commas.
///
/// # Errors
///
/// When it lists a server that nobody knows.
pub fn required_servers() -> Result<Vec<Required>, ServerError> {
    parse_required(&env::var(REQUIRE).unwrap_or_default())
}

fn parse_required(list: &str) -> Result<Vec<Required>, ServerError> {
    let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
    names
        .map(|name| match name {
            "postgres" => Ok(Required::Postgres),
            "redis" => Ok(Required::Redis),
            "etcd" => Ok(Required::Etcd),
            _ => Err(ServerError::NoServer(format!("{REQUIRE} lists {name:?}; known are: postgres, redis, etcd"))),
        })
        .collect()
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

    #[test]
    fn a_misspelt_server_is_an_error() {
        assert_eq!(parse_required("").unwrap(), []);
        assert_eq!(parse_required(" postgres ,").unwrap(), [Required::Postgres]);
        let error = parse_required("postgres,postgress").unwrap_err().to_string();
        assert!(error.contains("\"postgress\""), "{error}");
    }
}
