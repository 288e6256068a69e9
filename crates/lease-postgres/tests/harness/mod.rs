//! PostgreSQL on the test bench.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use integration_tests::{Postgres, PostgresKind, Provider, ServerHarness};
use lease_core::{FencingToken, GrantId, LeaseName, LeaseStore};
use lease_postgres::PostgresStoreOptions;
use lease_testkit::{Harm, Hold};
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

    async fn back_up(&self, server: &Postgres) -> Harm {
        self.sql(server, "create table {table}_backup as table {table}").await;
        Harm::Done
    }

    async fn put_back(&self, server: &Postgres) {
        self.sql(server, "begin; truncate {table}; insert into {table} table {table}_backup; commit").await;
    }

    async fn hold(&self, server: &Postgres, name: &LeaseName) -> Option<Box<dyn Hold>> {
        let mut connection = PgConnection::connect(server.url()).await.unwrap();
        let lock = format!("select 1 from {} where lease_name = $1 for update", self.0.table);
        let insert = format!(
            "insert into {} (lease_name, holder_id, version, acquired_at_utc, expires_at_utc)
             values ($1, 'other software', 1, now(), now() + interval '1 hour')",
            self.0.table
        );
        sqlx::raw_sql("begin").execute(&mut connection).await.unwrap();
        let locked = sqlx::query(AssertSqlSafe(lock)).bind(name.as_str()).execute(&mut connection).await.unwrap();
        if locked.rows_affected() == 0 {
            sqlx::query(AssertSqlSafe(insert)).bind(name.as_str()).execute(&mut connection).await.unwrap();
        }
        Some(Box::new(LockedRow { connection, table: self.0.table.clone(), name: name.clone() }))
    }

    async fn remove_record(&self, server: &Postgres, name: &LeaseName) {
        let mut connection = PgConnection::connect(server.url()).await.unwrap();
        let delete = format!("delete from {} where lease_name = $1", self.0.table);
        sqlx::query(AssertSqlSafe(delete)).bind(name.as_str()).execute(&mut connection).await.unwrap();
    }
}

impl Table {
    /// Runs statements on the table, which they call `{table}`.
    async fn sql(&self, server: &Postgres, text: &str) {
        let mut connection = PgConnection::connect(server.url()).await.unwrap();
        let text = text.replace("{table}", &self.0.table);
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection).await.unwrap();
    }
}

/// A row that is locked in a transaction.
struct LockedRow {
    connection: PgConnection,
    table: String,
    name: LeaseName,
}

#[async_trait]
impl Hold for LockedRow {
    async fn take_over(&mut self) -> FencingToken {
        let update = format!(
            "update {} set holder_id = 'other software', acquired_at_utc = now(), expires_at_utc = now() + interval '1 hour',
                 version = greatest(version + 1, (date_part('epoch', clock_timestamp()) * 1000000)::bigint)
             where lease_name = $1 returning version",
            self.table
        );
        let update = sqlx::query_scalar::<_, i64>(AssertSqlSafe(update)).bind(self.name.as_str());
        let version = update.fetch_one(&mut self.connection).await.unwrap();
        FencingToken::new(u64::try_from(version).unwrap()).unwrap()
    }

    async fn delete(&mut self) {
        let delete = format!("delete from {} where lease_name = $1", self.table);
        sqlx::query(AssertSqlSafe(delete)).bind(self.name.as_str()).execute(&mut self.connection).await.unwrap();
    }

    async fn let_go(mut self: Box<Self>) {
        sqlx::raw_sql("commit").execute(&mut self.connection).await.unwrap();
    }
}
