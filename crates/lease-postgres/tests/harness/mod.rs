//! PostgreSQL on the test bench.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use integration_tests::{Postgres, PostgresKind, Provider, ServerHarness};
use lease_core::{GrantId, LeaseName, LeaseStore};
use lease_postgres::PostgresStoreOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

pub(crate) type PostgresHarness = ServerHarness<Table>;

/// Leases in a table of their own.
pub(crate) struct Table(PostgresStoreOptions);

#[async_trait]
impl Provider for Table {
    type Kind = PostgresKind;

    /// A request has a sixth of it: on a busy machine that shares two cores with its servers, that takes some time.
    const TTL: Duration = Duration::from_secs(2);

    async fn prepare(server: &Postgres) -> Self {
        let options = PostgresStoreOptions::new().with_table(format!("leases_{}", GrantId::random()));
        options.connect(server.url()).await.unwrap().migrate().await.unwrap();
        Self(options)
    }

    async fn open(&self, url: &str) -> Arc<dyn LeaseStore> {
        Arc::new(self.0.connect(url).await.unwrap())
    }

    async fn remove_record(&self, server: &Postgres, name: &LeaseName) {
        let mut connection = PgConnection::connect(server.url()).await.unwrap();
        let delete = format!("delete from {} where lease_name = $1", self.0.table);
        sqlx::query(AssertSqlSafe(delete)).bind(name.as_str()).execute(&mut connection).await.unwrap();
    }
}
