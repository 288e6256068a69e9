//! Opens stores.

use lease_core::{Error, ErrorKind, Result};

use crate::Opened;

/// The name of the operation in errors.
const OPEN: &str = "open";

/// Opens the store of a URL; see [the table](crate). For a new database, call [`Admin::migrate`](crate::Admin::migrate) before the
/// first lease.
///
/// # Errors
///
/// * `Invalid`: no store has the scheme, or the URL is not one of that store. The message does not contain a password.
/// * `Unsupported`: the store is not built in. The message names the feature.
/// * Those of connecting to the store.
///
/// # Cancel safety
///
/// Cancel safe: nothing stays open.
pub async fn open(url: &str) -> Result<Opened> {
    // What comes before the colon may be a user, if the scheme was forgotten.
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    let feature = match scheme {
        "memory" => "memory",
        "postgres" | "postgresql" => "postgres",
        "etcd" => "etcd",
        "file" => "file",
        "k8s" | "kubernetes" => "kubernetes",
        "consul" | "consuls" => "consul",
        "cosmos" | "cosmos+http" => "cosmos",
        "s3" | "az" | "gs" => "object-store",
        "zookeeper" => "zookeeper",
        _ if scheme.starts_with("redis") || scheme.starts_with("valkey") => "redis",
        _ => {
            let message = "the URL of the store has no known scheme: use memory:, postgres://…, redis://…, etcd://…, file:///…, \
                           or another one of the documentation of lease-url";
            return Err(Error::new(ErrorKind::Invalid, OPEN, message));
        }
    };
    match feature {
        #[cfg(feature = "memory")]
        "memory" => crate::stores::memory::open(url),
        #[cfg(feature = "postgres")]
        "postgres" => crate::stores::postgres::open(url).await,
        #[cfg(feature = "redis")]
        "redis" => crate::stores::redis::open(url).await,
        #[cfg(feature = "etcd")]
        "etcd" => crate::stores::etcd::open(url).await,
        #[cfg(feature = "file")]
        "file" => crate::stores::file::open(url).await,
        #[cfg(feature = "kubernetes")]
        "kubernetes" => crate::stores::kubernetes::open(url).await,
        #[cfg(feature = "consul")]
        "consul" => crate::stores::consul::open(url).await,
        #[cfg(feature = "cosmos")]
        "cosmos" => crate::stores::cosmos::open(url).await,
        #[cfg(feature = "object-store")]
        "object-store" => crate::stores::object_store::open(url).await,
        #[cfg(feature = "zookeeper")]
        "zookeeper" => crate::stores::zookeeper::open(url).await,
        _ => {
            let message =
                format!("the store of {scheme}: is not built in: build lease-url with its feature `{feature}`");
            Err(Error::new(ErrorKind::Unsupported, OPEN, message))
        }
    }
}
