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
use lease_core::{
    AcquireRequest, Acquired, Break, Capabilities, Error, ExpiryJudge, FencingToken, LeaseName, LeaseRecord,
    LeaseStore, ReleaseRequest, Released, RenewRequest, Renewed, Result, TokensSurvive, Wakeups,
};
use sqlx::PgPool;

use crate::{
    PostgresStoreOptions, STORE,
    acquire::Acquire,
    announcer::Announcer,
    batch::{Operation, perform},
    connections::{Access, Connections, Failure},
    error::classify,
    listener::Listener,
    release::Release,
    renew::Renew,
    schema::{Fitness, Table},
    statement::Value,
    statements::Statements,
};

/// The smallest ttl: the trips of a renewal must fit in.
pub(crate) const MIN_TTL: Duration = Duration::from_millis(10);

/// The largest ttl.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 3600);

/// Keeps leases in a table of PostgreSQL.
///
/// Cheap to clone; clones share the connections. See the [crate's page](crate) for what it promises.
#[derive(Clone)]
pub struct PostgresStore(pub(crate) Arc<Inner>);

impl PostgresStore {
    /// Connects to `postgres://user:password@host:port/database?sslmode=…` with the default options: see
    /// [`PostgresStoreOptions::connect`].
    ///
    /// # Errors
    ///
    /// `Invalid`: the URL cannot be read, or the database does not exist. `Denied`: the server refuses the user or the
    /// password. `Unavailable`: there is no answer. No error repeats the URL or the password.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind when it is dropped.
    pub async fn connect(url: &str) -> Result<Self> {
        PostgresStoreOptions::new().connect(url).await
    }

    /// Connects to where a pool of the application connects to, with the default options: see
    /// [`PostgresStoreOptions::with_pool`].
    ///
    /// # Errors
    ///
    /// None with the default options.
    pub fn with_pool(pool: &PgPool) -> Result<Self> {
        PostgresStoreOptions::new().with_pool(pool)
    }

    /// The channel of this table's notifications. Other software that frees leases in the table may wake waiters with
    /// `pg_notify(channel, lease_name)`.
    #[must_use]
    pub fn notification_channel(&self) -> String {
        self.0.table.channel()
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the connections: what they were made from has the password.
        f.debug_struct("PostgresStore")
            .field("table", &self.0.table.quoted())
            .field("listens", &self.0.listens())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl LeaseStore for PostgresStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(STORE)
            .with_ttl(MIN_TTL, MAX_TTL, Duration::from_micros(1))
            .with_expiry_judge(ExpiryJudge::ServerWallClock)
            // All by S10: tokens follow the server's clock.
            .with_tokens_survive(TokensSurvive::new().removal().restart().data_loss())
            .with_grants_survive_crash(true)
            .with_push(self.0.listens())
            // It would take a connection that listens for every client, also for those that never wait.
            .with_push_to_holders(false)
            .with_remembers_last_grant(true)
            // Measured: four at once are a tenth slower with 256 tasks, and the same with 32.
            .with_calls_at_once(1)
    }

    async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        if let Err(error) = self.0.check_table().await {
            return requests.iter().map(|_| Err(error.clone())).collect();
        }
        perform(&Acquire(&self.0), &self.0, requests).await
    }

    async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        perform(&Renew(&self.0), &self.0, requests).await
    }

    async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        perform(&Release(&self.0), &self.0, requests).await
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
}

/// What all clones share.
pub(crate) struct Inner {
    table: Table,
    /// Whether it was looked at.
    is_fit: AtomicBool,
    statements: Arc<Statements>,
    connections: Connections,
    announcer: Option<Arc<Announcer>>,
    listener: Option<Listener>,
}

impl Inner {
    pub(crate) fn new(options: &PostgresStoreOptions, table: Table, connections: Connections) -> Self {
        let statements = Arc::new(Statements::new(&table));
        let channel = table.channel();
        let pool = connections.pool();
        let announcer = options
            .notifications
            .then(|| Arc::new(Announcer::new(Arc::clone(pool), Arc::clone(&statements), channel.clone())));
        // Whoever connected already knows whether it can be listened.
        let listens = options.notifications && !pool.connector().is_behind_pooler();
        let listener = listens.then(|| Listener::new(Arc::clone(pool.connector()), channel, table.listeners()));
        Self { table, is_fit: AtomicBool::new(false), statements, connections, announcer, listener }
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// Looks once what the table is, before anything is granted by it. Without a table the statement says what to do.
    async fn check_table(&self) -> Result<()> {
        if self.is_fit.load(Ordering::Relaxed) {
            return Ok(());
        }
        let key = self.table.key().map(Value::from);
        let looked = self.connections.run(Access::Read, &self.statements.fitness, &key).await;
        let rows = looked.map_err(|failure| self.error(Acquire::NAME, failure))?;
        let Some(row) = rows.first() else { return Ok(()) };
        let fitness = Fitness::read(row).map_err(|error| self.error(Acquire::NAME, Failure::unreadable(error)))?;
        self.table.check(Acquire::NAME, &fitness)?;
        self.is_fit.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn statements(&self) -> &Statements {
        &self.statements
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.connections
    }

    pub(crate) fn listens(&self) -> bool {
        self.listener.is_some()
    }

    /// Hints to those who wait for these names, after the answer that says what became of them.
    pub(crate) fn announce<'a>(&self, names: impl IntoIterator<Item = &'a LeaseName>) {
        if let Some(announcer) = &self.announcer {
            announcer.announce(names);
        }
    }

    pub(crate) fn prepares(&self) -> bool {
        self.connections.prepares()
    }

    pub(crate) fn error(&self, operation: &'static str, failure: Failure) -> Error {
        classify(operation, &format!("the table {}", self.table.quoted()), failure)
    }
}
