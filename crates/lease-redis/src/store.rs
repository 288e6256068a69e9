//! The store: a handle on what all operations share.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fred::{clients::Client, prelude::Value};
use lease_core::{
    AcquireRequest, Acquired, Break, Capabilities, Error, ExpiryJudge, FencingToken, LeaseName, LeaseRecord,
    LeaseStore, ReleaseRequest, Released, RenewRequest, Renewed, Result, TokensSurvive, Wakeups,
};

use crate::{
    RedisStoreOptions, STORE, WaitReplicas,
    batch::perform,
    call::Failure,
    connections::Connections,
    error::classify,
    index::Index,
    keys::{Keys, slot},
    listener::Listener,
    preflight::Preflight,
    release::Release,
    scripts::Scripts,
};

/// The smallest ttl: the trips of a renewal must fit in.
pub(crate) const MIN_TTL: Duration = Duration::from_millis(10);

/// The largest ttl.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 3600);

/// Keeps leases in Redis or Valkey.
///
/// Cheap to clone; clones share the connections. See the [crate's page](crate) for what it promises.
#[derive(Clone)]
pub struct RedisStore(pub(crate) Arc<Inner>);

impl RedisStore {
    /// Connects to `redis://user:password@host:port/database` with the default options: see
    /// [`RedisStoreOptions::connect`], also for Sentinel and Cluster.
    ///
    /// # Errors
    ///
    /// As [`RedisStoreOptions::connect`]. No error repeats the URL or the password.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind when it is dropped.
    pub async fn connect(url: &str) -> Result<Self> {
        RedisStoreOptions::new().connect(url).await
    }

    /// Uses a client that the application has, with the default options: see [`RedisStoreOptions::with_client`].
    ///
    /// # Errors
    ///
    /// None with the default options.
    pub fn with_client(client: Client) -> Result<Self> {
        RedisStoreOptions::new().with_client(client)
    }

    /// The client: of the store's own, or the one that it was given. In a Cluster there is one of the store's own for each
    /// server, and this is any of them.
    #[must_use]
    pub fn client(&self) -> Client {
        self.0.connections.client()
    }

    /// What every key begins with. The rest is the lease's name, and the same text is the channel of its hints.
    #[must_use]
    pub fn key_prefix(&self) -> &str {
        self.0.keys.prefix()
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("place", &self.0.connections.place())
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
            .with_push(self.0.listener.is_some())
            // It would take a subscription per lease.
            .with_push_to_holders(false)
            .with_remembers_last_grant(true)
            // Measured: a third more with 32 tasks and with 256.
            .with_calls_at_once(4)
    }

    async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        self.0.acquire(requests).await
    }

    async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        self.0.renew(requests).await
    }

    async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        perform(&Release, &self.0, requests).await
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
        match &self.0.listener {
            Some(listener) => listener.subscribe(name),
            None => Wakeups::never(),
        }
    }

    /// In a Cluster, a number for each primary.
    fn part_of(&self, name: &LeaseName) -> u16 {
        let cluster = self.0.connections.cluster();
        cluster.map_or(0, |cluster| cluster.number_of(slot(&self.0.keys.key(name))))
    }
}

/// What all clones share.
pub(crate) struct Inner {
    keys: Keys,
    scripts: Scripts,
    connections: Arc<Connections>,
    listener: Option<Listener>,
    preflight: Arc<Preflight>,
    index: Index,
    are_hints_refused: AtomicBool,
    options: RedisStoreOptions,
}

impl Inner {
    pub(crate) fn new(options: &RedisStoreOptions, connections: Connections) -> Self {
        let (keys, connections) = (Keys::new(&options.key_prefix), Arc::new(connections));
        let listener = options.notifications.then(|| Listener::new(Arc::clone(&connections), keys.clone(), options));
        let are_hints_refused = AtomicBool::new(false);
        let preflight = Arc::new(Preflight::new(Arc::clone(&connections), keys.clone(), options));
        let scripts = Scripts::new();
        Self {
            keys,
            scripts,
            connections,
            listener,
            preflight,
            index: Index::default(),
            are_hints_refused,
            options: options.clone(),
        }
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) fn scripts(&self) -> &Scripts {
        &self.scripts
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.connections
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) fn preflight(&self) -> &Arc<Preflight> {
        &self.preflight
    }

    pub(crate) fn wait_replicas(&self) -> Option<WaitReplicas> {
        self.options.wait_replicas
    }

    /// They cost time only (S20), but that an operator wants to know, once.
    pub(crate) fn hints_are_refused(&self) {
        if self.listener.is_some() && !self.are_hints_refused.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                store = STORE,
                place = self.connections.place(),
                "the server refuses to tell those who wait: they poll. The user needs +publish and the channels of the prefix"
            );
        }
    }

    /// In milliseconds, as the scripts have it.
    pub(crate) fn retention(&self) -> Value {
        i64::try_from(self.options.retention.as_millis()).unwrap_or(i64::MAX).into()
    }

    pub(crate) fn error(&self, operation: &'static str, failure: Failure) -> Error {
        classify(operation, self.connections.place(), failure)
    }
}
