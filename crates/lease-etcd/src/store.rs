//! The store: a handle on what all operations share.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use etcd_client::Client;
use lease_core::{
    AcquireRequest, Acquired, Break, Capabilities, ExpiryJudge, FencingToken, LeaseName, LeaseRecord, LeaseStore,
    ReleaseRequest, Released, RenewRequest, Renewed, Result, Revocations, TokensSurvive, Wakeups,
};

use crate::{
    EtcdStoreOptions, STORE, buckets::Buckets, connections::Connections, keys::Keys, limits::Limits,
    recently_held::RecentlyHeld, transactions::Transactions, watch::Watch,
};

/// The largest ttl.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 3600);

/// Keeps leases in etcd.
///
/// Cheap to clone; clones share the connection. See the [crate's page](crate) for what it promises.
#[derive(Clone)]
pub struct EtcdStore(Arc<Inner>);

impl EtcdStore {
    /// Connects to a cluster with the default options: see [`EtcdStoreOptions::connect`].
    ///
    /// # Errors
    ///
    /// `Invalid`: there is no endpoint, or one is no URL. `Unavailable`: no endpoint answers.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind when it is dropped but an empty etcd lease of a few seconds.
    pub async fn connect<E: AsRef<str>>(endpoints: impl IntoIterator<Item = E>) -> Result<Self> {
        EtcdStoreOptions::new().connect(endpoints).await
    }

    /// Uses a client that the application has, with the default options: see [`EtcdStoreOptions::with_client`].
    ///
    /// # Errors
    ///
    /// `Denied`: the client's user may not do this. `Unavailable`: there is no answer.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind when it is dropped but an empty etcd lease of a few seconds.
    pub async fn with_client(client: Client) -> Result<Self> {
        EtcdStoreOptions::new().with_client(client).await
    }

    /// The key of a lease: whoever deletes it breaks the lease at once, whoever watches it sees its grants and its end.
    #[must_use]
    pub fn key(&self, name: &LeaseName) -> String {
        self.0.keys.grant(name)
    }

    /// The endpoint that calls go to at this moment, or the next one will. Nothing for a client that the application has
    /// brought.
    ///
    /// A store begins at any of its endpoints, and goes to the next one when a call fails or has no answer; that is logged
    /// as a warning, with its reason.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.0.connections.endpoint()
    }

    pub(crate) fn new(connections: Connections, keys: Keys, limits: Limits) -> Self {
        let connections = Arc::new(connections);
        let watch = Watch::new(Arc::clone(&connections), keys.clone());
        let (buckets, transactions) = (Buckets::new(), Transactions::new());
        let recently_held = RecentlyHeld::default();
        Self(Arc::new(Inner { connections, keys, limits, buckets, transactions, recently_held, watch }))
    }
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore")
            .field("key_prefix", &self.0.keys.prefix())
            .field("connections", &self.0.connections)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl LeaseStore for EtcdStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(STORE)
            .with_ttl(self.0.limits.min_ttl, MAX_TTL, Duration::from_secs(1))
            // The leader's; Go's clock does not jump.
            .with_expiry_judge(ExpiryJudge::ServerMonotonicClock)
            // Revisions are the cluster's, not the key's. A cluster that is made anew from a snapshot goes back to its revision.
            .with_tokens_survive(TokensSurvive::new().removal().restart())
            .with_grants_survive_crash(true)
            .with_push(true)
            .with_push_to_holders(true)
            // A key that is deleted is forgotten. A delayed duplicate whose bucket still lives makes a grant that nobody
            // claims, and that dies with its bucket.
            .with_remembers_last_grant(false)
            // Measured: a third more with 32 tasks, a tenth with 256.
            .with_calls_at_once(4)
    }

    async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        self.0.acquire(requests).await
    }

    async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        self.0.renew(requests).await
    }

    async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        self.0.release(requests).await
    }

    async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        self.0.inspect(name).await
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        self.0.list(prefix, after, limit).await
    }

    async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
        self.0.break_lease(name, token, how).await
    }

    fn subscribe(&self, name: &LeaseName) -> Wakeups {
        self.0.watch.subscribe(name)
    }

    fn revocations(&self) -> Revocations {
        self.0.watch.revocations()
    }
}

/// What all clones share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) connections: Arc<Connections>,
    pub(crate) keys: Keys,
    pub(crate) limits: Limits,
    pub(crate) buckets: Buckets,
    pub(crate) transactions: Transactions,
    pub(crate) recently_held: RecentlyHeld,
    watch: Watch,
}
