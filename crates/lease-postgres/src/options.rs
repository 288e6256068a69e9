//! How a store is configured.

use std::{sync::Arc, time::Duration};

use lease_core::{ErrorKind, Result};
use sqlx::PgPool;

use crate::{
    PostgresStore,
    connections::{self, Connections},
    connector::Connector,
    error,
    schema::Table,
    store::Inner,
};

/// How a [`PostgresStore`] is configured: plain data.
///
/// ```no_run
/// # async fn example() -> lease_core::Result<()> {
/// use lease_postgres::PostgresStoreOptions;
///
/// let store = PostgresStoreOptions::new()
///     .with_schema("coordination")
///     .with_max_connections(4)
///     .connect("postgres://app@db.example/app?sslmode=verify-full")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PostgresStoreOptions {
    /// The schema of the table; `public` by default. Any name of 1 to 63 bytes: it is quoted.
    pub schema: String,
    /// The table of the leases; `app_runtime_leases` by default. Any name of 1 to 63 bytes: it is quoted.
    pub table: String,
    /// Whether waiters are told of releases by `LISTEN`, on a connection of its own, and releases are told by `NOTIFY`.
    /// On by default. Nobody listens through a pooler that does not carry the settings of a session: waiters poll there.
    pub notifications: bool,
    /// Whether statements are prepared once per connection. On by default. Without it, and through a pooler that does not carry the
    /// settings of a session, every operation is one message that holds a whole transaction.
    pub prepared_statements: bool,
    /// Whether [`PostgresStore::migrate`] and the printed text make the index on which a [fence](PostgresStore::commit_fenced) rests. Off
    /// by default: with it, every grant writes to two indexes, which costs the server a third more for a grant and its release.
    pub fences: bool,
    /// The largest number of connections for operations, those counted whose call was abandoned and may still be at work on the
    /// server; 8 by default. Beside them there may be one for `LISTEN` and one for `NOTIFY`.
    pub max_connections: u32,
    /// How long [`PostgresStoreOptions::connect`], and later an operation, waits for a connection; 5 s by default.
    pub connect_timeout: Duration,
}

impl Default for PostgresStoreOptions {
    fn default() -> Self {
        Self {
            schema: "public".to_owned(),
            table: "app_runtime_leases".to_owned(),
            notifications: true,
            prepared_statements: true,
            fences: false,
            max_connections: 8,
            connect_timeout: Duration::from_secs(5),
        }
    }
}

impl PostgresStoreOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`PostgresStoreOptions::schema`].
    #[must_use]
    pub fn with_schema(self, schema: impl Into<String>) -> Self {
        Self { schema: schema.into(), ..self }
    }

    /// Sets [`PostgresStoreOptions::table`].
    #[must_use]
    pub fn with_table(self, table: impl Into<String>) -> Self {
        Self { table: table.into(), ..self }
    }

    /// Sets [`PostgresStoreOptions::notifications`].
    #[must_use]
    pub fn with_notifications(self, notifications: bool) -> Self {
        Self { notifications, ..self }
    }

    /// Sets [`PostgresStoreOptions::prepared_statements`].
    #[must_use]
    pub fn with_prepared_statements(self, prepared_statements: bool) -> Self {
        Self { prepared_statements, ..self }
    }

    /// Sets [`PostgresStoreOptions::fences`].
    #[must_use]
    pub fn with_fences(self, fences: bool) -> Self {
        Self { fences, ..self }
    }

    /// Sets [`PostgresStoreOptions::max_connections`].
    #[must_use]
    pub fn with_max_connections(self, max_connections: u32) -> Self {
        Self { max_connections, ..self }
    }

    /// Sets [`PostgresStoreOptions::connect_timeout`].
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// Connects to `postgres://user:password@host:port/database?sslmode=…`.
    ///
    /// The URL's `sslmode` decides about TLS, as everywhere with PostgreSQL; `sslrootcert=system` verifies with the certificates of the
    /// system. A parameter that is not known, or asks for what the driver cannot do, is refused by its name. One connection is tried at
    /// once; the table is not looked for yet.
    ///
    /// # Errors
    ///
    /// `Invalid`: the URL cannot be read or asks for what cannot be had, the database does not exist, or the options cannot be. `Denied`: the server refuses
    /// the user or the password. `Unavailable`: there is no answer. No error repeats the URL or the password.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind when it is dropped.
    pub async fn connect(&self, url: &str) -> Result<PostgresStore> {
        let table = self.checked()?;
        Ok(self.build(table, connections::open(url, self).await?))
    }

    /// Connects to where a pool of the application connects to, as the same user.
    ///
    /// Only the pool's connection options are taken. The connections are the store's own: one of the pool may have been left in a
    /// transaction by somebody else, and what is said inside of that may never be committed (S1). Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// `Invalid`: the schema or the table cannot be a name, or `max_connections` is zero.
    pub fn with_pool(&self, pool: &PgPool) -> Result<PostgresStore> {
        let table = self.checked()?;
        let connector = Connector::new((*pool.connect_options()).clone());
        Ok(self.build(table, Connections::new(connector, self)))
    }

    /// The text that creates the table, or upgrades one that has the contract's columns only: for people who manage schemas
    /// themselves. It can be run again.
    ///
    /// # Errors
    ///
    /// `Invalid`: the schema or the table cannot be a name.
    pub fn ddl(&self) -> Result<String> {
        Ok(self.named_table()?.ddl())
    }

    fn checked(&self) -> Result<Table> {
        if self.max_connections == 0 {
            return Err(error::here(ErrorKind::Invalid, "configure", "max_connections must be at least 1"));
        }
        self.named_table()
    }

    fn named_table(&self) -> Result<Table> {
        Ok(Table::new(&self.schema, &self.table)?.with_fences(self.fences))
    }

    fn build(&self, table: Table, connections: Connections) -> PostgresStore {
        PostgresStore(Arc::new(Inner::new(self, table, connections)))
    }
}
