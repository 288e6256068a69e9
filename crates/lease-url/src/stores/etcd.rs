use lease_core::{Error, ErrorKind, Result};
use lease_etcd::EtcdStore;

use crate::{Admin, Opened};

pub(crate) async fn open(url: &str) -> Result<Opened> {
    let endpoints = url.strip_prefix("etcd://").unwrap_or_default().trim_end_matches('/');
    if endpoints.is_empty() || endpoints.contains(['/', '@', '?']) {
        let message = "this is no URL of etcd: write etcd://host:port,host:port, and use EtcdStoreOptions for users, TLS \
                       and a prefix";
        return Err(Error::new(ErrorKind::Invalid, "open", message));
    }
    Ok(Opened::new(EtcdStore::connect(endpoints.split(',')).await?))
}

/// Keys end with their etcd leases.
impl Admin for EtcdStore {}
