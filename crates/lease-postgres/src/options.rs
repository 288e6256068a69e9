//! The configuration of a store.

use std::time::Duration;

/// The configuration of a [`PostgresStore`](crate::PostgresStore).
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
    /// The schema of the table; `public` by default. May be any name of 1 to 63 bytes: it is quoted.
    pub schema: String,
    /// The table of the leases; `app_runtime_leases` by default. May be any name of 1 to 63 bytes: it is quoted.
    pub table: String,
    /// Whether a release sends a notification (`NOTIFY`), and waiters listen for it (`LISTEN`) on a connection of its own; on by
    /// default. Without notifications waiters poll. They also poll behind a pooler that does not carry the settings of a session.
    pub notifications: bool,
    /// Whether statements are prepared once per connection; on by default. If it is off, or behind a pooler that does not carry
    /// the settings of a session, every operation is one message with a whole transaction in it.
    pub prepared_statements: bool,
    /// Whether [`migrate`](crate::PostgresStore::migrate) and [`ddl`](Self::ddl) create the index on which a
    /// [fence](crate::PostgresStore::commit_fenced) relies; off by default. With it, every grant writes to two indexes, which
    /// costs the server a third more for a grant and its release.
    pub fences: bool,
    /// The largest number of connections for operations; 8 by default. It includes connections whose call was abandoned and may
    /// still run on the server. In addition there may be one connection for `LISTEN` and one for `NOTIFY`.
    pub max_connections: u32,
    /// How long [`connect`](Self::connect), and later an operation, waits for a connection; 5 s by default.
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
    /// Creates the default options.
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
}
