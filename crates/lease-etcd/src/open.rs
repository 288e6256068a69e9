//! Opens a store: connects to a cluster, or takes over a client, and checks that the servers serve it.

use std::{sync::Arc, time::Duration};

use etcd_client::{Client, GetOptions};
use lease_core::{Clock, Result, SystemClock};

use crate::{
    EtcdStore, EtcdStoreOptions,
    buckets::Buckets,
    connections::{Connections, Source},
    error::{Access, Failure},
    keys::Keys,
    limits::Limits,
    shared::Shared,
};

impl EtcdStore {
    /// Connects to a cluster with the default options; see [`EtcdStoreOptions::connect`].
    ///
    /// # Errors
    ///
    /// As for [`EtcdStoreOptions::connect`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves behind at most an empty etcd lease, which expires within seconds.
    pub async fn connect<E: AsRef<str>>(endpoints: impl IntoIterator<Item = E>) -> Result<Self> {
        EtcdStoreOptions::new().connect(endpoints).await
    }

    /// Creates a store that uses the application's client, with the default options; see [`EtcdStoreOptions::with_client`].
    ///
    /// # Errors
    ///
    /// As for [`EtcdStoreOptions::with_client`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves behind at most an empty etcd lease, which expires within seconds.
    pub async fn with_client(client: Client) -> Result<Self> {
        EtcdStoreOptions::new().with_client(client).await
    }
}

impl EtcdStoreOptions {
    /// Connects to a cluster.
    ///
    /// An endpoint is `http://host:port`, `https://host:port`, or `host:port`, which means `https` if certificates are set and
    /// `http` otherwise. One endpoint is used at a time: a random one at first, and the next one when it fails; see
    /// [`EtcdStore::endpoint`]. The list of endpoints does not change when members of the cluster are replaced. To learn the
    /// smallest ttl that the servers grant, this call creates an etcd lease of that ttl and revokes it.
    ///
    /// # Errors
    ///
    /// * `Invalid`: there is no endpoint, an endpoint is not such a URL, a timeout is zero, the key prefix is bad, or the
    ///   certificates cannot be used.
    /// * `Denied`: the servers refuse the user or the password.
    /// * `Unavailable`: no endpoint answers.
    ///
    /// No error contains an endpoint or the password.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves behind at most an empty etcd lease, which expires within seconds.
    pub async fn connect<E: AsRef<str>>(&self, endpoints: impl IntoIterator<Item = E>) -> Result<EtcdStore> {
        let endpoints = self.endpoints(endpoints)?;
        self.open(Source::Endpoints(Arc::new(endpoints))).await
    }

    /// Creates a store that uses the application's client. Of these options, only [`EtcdStoreOptions::key_prefix`] and
    /// [`EtcdStoreOptions::request_timeout`] apply.
    ///
    /// The client keeps its own settings, and fails over by itself: it spreads calls over all its endpoints, including those
    /// that do not answer, and is never replaced. Create it with `with_require_leader(true)`, `with_keep_alive(…)`,
    /// `with_connect_timeout(…)` and, if it has a user, `with_auto_token_refresh(true)`; or call
    /// [`EtcdStoreOptions::connect`] instead.
    ///
    /// # Errors
    ///
    /// * `Invalid`: the request timeout is zero, or the key prefix is bad.
    /// * `Denied`: the client's user lacks the rights.
    /// * `Unavailable`: no server answers.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves behind at most an empty etcd lease, which expires within seconds.
    pub async fn with_client(&self, client: Client) -> Result<EtcdStore> {
        self.open(Source::Given(Box::new(client))).await
    }

    async fn open(&self, source: Source) -> Result<EtcdStore> {
        self.check()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let connections = Connections::new(source, clock, self.request_timeout);
        let keys = Keys::new(&self.key_prefix);
        let limits = probe(&connections, &keys).await.map_err(|failure| failure.error)?;
        Ok(EtcdStore(Arc::new(Shared::new(connections, keys, limits))))
    }
}

/// Checks that the servers answer and accept the user, and returns the limits of what they grant.
async fn probe(connections: &Connections, keys: &Keys) -> Result<Limits, Failure> {
    let (first, end) = keys.all();
    let read = connections.call("connect", Access::Read, |client| {
        let options = GetOptions::new().with_range(end.as_slice()).with_limit(1).with_keys_only();
        let first = first.clone();
        Box::pin(async move { client.kv_client().get(first, Some(options)).await })
    });
    read.await?;
    // The server grants its minimum where less is requested.
    let smallest = Buckets::new().fresh(connections, "connect", Duration::from_secs(1)).await?;
    let revoke = connections.call("connect", Access::Read, |client| {
        Box::pin(async move { client.lease_client().revoke(smallest.id).await })
    });
    // If the revocation fails, the etcd lease expires within seconds.
    drop(revoke.await);
    Ok(Limits { min_ttl: smallest.ttl })
}
