//! Creates stores.

use std::sync::Arc;

use lease_core::{ErrorKind, Result};
use sqlx::PgPool;

use super::PostgresStore;
use crate::{
    PostgresStoreOptions,
    error::{classify, store_error},
    server::{Connections, Connector, parse},
    shared::Shared,
    sql::{Table, ddl},
};

impl PostgresStore {
    /// Connects to `postgres://user:password@host:port/database?sslmode=…` with the default options: see
    /// [`PostgresStoreOptions::connect`].
    ///
    /// # Errors
    ///
    /// As for [`PostgresStoreOptions::connect`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn connect(url: &str) -> Result<Self> {
        PostgresStoreOptions::new().connect(url).await
    }

    /// Creates a store that connects to the same server as a pool of the application, with the default options: see
    /// [`PostgresStoreOptions::with_pool`].
    ///
    /// # Errors
    ///
    /// None with the default options.
    pub fn with_pool(pool: &PgPool) -> Result<Self> {
        PostgresStoreOptions::new().with_pool(pool)
    }
}

impl PostgresStoreOptions {
    /// Connects to `postgres://user:password@host:port/database?sslmode=…`.
    ///
    /// As everywhere with PostgreSQL, `sslmode` decides about TLS. The default, `prefer`, uses TLS if the server offers it, and
    /// verifies no certificate; `sslmode=verify-full` does. `sslrootcert=system` verifies with the certificates of the system.
    /// A parameter that is unknown, or that the driver cannot fulfil, is refused by its name. One connection is opened at once;
    /// the table is not checked yet.
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::Invalid`] if the URL is malformed or cannot be fulfilled, if the database does not exist, or if an option
    ///   is invalid.
    /// * [`ErrorKind::Denied`] if the server refuses the user or the password.
    /// * [`ErrorKind::Unavailable`] if the server does not answer.
    ///
    /// No error contains the URL or the password.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn connect(&self, url: &str) -> Result<PostgresStore> {
        const OPERATION: &str = "connect";
        let table = self.checked_table()?;
        let server = parse(url).map_err(|message| store_error(ErrorKind::Invalid, OPERATION, message))?;
        let connections = Connections::new(Connector::new(server), self);
        match connections.begin().await {
            Ok(call) => call.finish(),
            Err(failure) => return Err(classify(OPERATION, &connections.pool().connector().server(), failure)),
        }
        Ok(self.build(table, connections))
    }

    /// Creates a store that connects to the same server as a pool of the application, as the same user.
    ///
    /// Only the connection options of the pool are used. The connections are the store's own: the application may leave a
    /// connection of its pool in a transaction, and what a statement answers inside it may never be committed (S1). Nothing is
    /// connected yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if the schema or the table cannot be a name, or if `max_connections` is zero.
    pub fn with_pool(&self, pool: &PgPool) -> Result<PostgresStore> {
        let table = self.checked_table()?;
        let connector = Connector::new((*pool.connect_options()).clone());
        Ok(self.build(table, Connections::new(connector, self)))
    }

    /// Returns the SQL that creates the table, or upgrades one that has only the columns of the contract, for people who manage
    /// schemas themselves. It can be run again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if the schema or the table cannot be a name.
    pub fn ddl(&self) -> Result<String> {
        Ok(ddl(&self.quoted_table()?))
    }

    fn checked_table(&self) -> Result<Table> {
        if self.max_connections == 0 {
            return Err(store_error(ErrorKind::Invalid, "configure", "max_connections must be at least 1"));
        }
        self.quoted_table()
    }

    fn quoted_table(&self) -> Result<Table> {
        Ok(Table::new(&self.schema, &self.table)?.with_fences(self.fences))
    }

    fn build(&self, table: Table, connections: Connections) -> PostgresStore {
        PostgresStore(Arc::new(Shared::new(self, table, connections)))
    }
}
