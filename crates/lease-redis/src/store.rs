//! The store.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use fred::clients::Client;
use lease_core::{
    AcquireRequest, Acquired, Break, Capabilities, ExpiryJudge, FencingToken, LeaseName, LeaseRecord, LeaseStore,
    ReleaseRequest, Released, RenewRequest, Renewed, Result, TokensSurvive, Wakeups,
};

use crate::{
    RedisStoreOptions, STORE,
    connections::Connections,
    keys::slot,
    listing::{self, Index},
    operations::{self, Release, perform},
    shared::{MAX_TTL, MIN_TTL, Shared},
};

/// A store that keeps leases in Redis or Valkey.
///
/// Cheap to clone; clones share the connections. The [page of the crate](crate) says what it promises.
#[derive(Clone)]
pub struct RedisStore {
    pub(crate) shared: Arc<Shared>,
    index: Arc<Index>,
}

impl RedisStore {
    pub(crate) fn new(options: &RedisStoreOptions, connections: Connections) -> Self {
        let shared = Arc::new(Shared::new(options, connections));
        Self { index: Arc::new(Index::new(Arc::clone(&shared))), shared }
    }

    /// Returns the driver's client: the application's, or the store's own. In a Cluster the store has a client for each server,
    /// and this is one of them.
    #[must_use]
    pub fn client(&self) -> Client {
        self.shared.connections().client()
    }

    /// Returns the prefix of every key. The rest of a key is the lease's name, and the whole is the channel of its hints as well.
    #[must_use]
    pub fn key_prefix(&self) -> &str {
        self.shared.keys().prefix()
    }

    /// Checks whether leases are safe on the server, and returns warnings: for a server with replicas, what a fail-over can lose.
    ///
    /// [`RedisStoreOptions::connect`] does this itself, and a store with a client of the application at its first call. Both do
    /// it again after each reconnection, and log the warnings.
    ///
    /// # Errors
    ///
    /// * `Invalid`: the server's `maxmemory-policy` evicts keys, and `accept_eviction` is off.
    /// * `Unsupported`: the server is too old.
    /// * `Unavailable`: the server is a replica, or it does not answer.
    /// * `Denied`: `wait_replicas` is set, and the user may not run `WAIT`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    pub async fn check(&self) -> Result<Vec<String>> {
        self.shared.preflight().check().await.map(|checked| checked.warnings)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("server", &self.shared.connections().server())
            .field("key_prefix", &self.key_prefix())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl LeaseStore for RedisStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(STORE)
            .with_ttl(MIN_TTL, MAX_TTL, Duration::from_micros(1))
            .with_expiry_judge(ExpiryJudge::ServerWallClock)
            // All by S10: tokens follow the server's clock.
            .with_tokens_survive(TokensSurvive::new().removal().restart().data_loss())
            // With `appendonly yes` and `appendfsync always`.
            .with_grants_survive_crash(true)
            .with_push(self.shared.listener().is_some())
            // It would take a subscription for each lease.
            .with_push_to_holders(false)
            .with_remembers_last_grant(true)
            // Measured: a third more throughput with 32 tasks and with 256.
            .with_calls_at_once(4)
    }

    async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        self.index.acquire(requests).await
    }

    async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        self.index.renew(requests).await
    }

    async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        perform(&Release, &self.shared, requests).await
    }

    async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        operations::inspect(&self.shared, name).await
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        listing::list(&self.shared, &self.index, prefix, after, limit).await
    }

    async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
        operations::break_lease(&self.shared, name, token, how).await
    }

    fn subscribe(&self, name: &LeaseName) -> Wakeups {
        match self.shared.listener() {
            Some(listener) => listener.subscribe(name),
            None => Wakeups::never(),
        }
    }

    /// In a Cluster, returns a number for each primary.
    fn part_of(&self, name: &LeaseName) -> u16 {
        let cluster = self.shared.connections().cluster();
        cluster.map_or(0, |cluster| cluster.number_of(slot(&self.shared.keys().key(name))))
    }
}
