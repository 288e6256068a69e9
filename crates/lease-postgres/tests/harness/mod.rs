//! PostgreSQL on the test bench.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it; tests may panic")]

use std::{marker::PhantomData, sync::Arc, time::Duration};

use async_trait::async_trait;
use integration_tests::{Postgres, PostgresKind, Provider, ServerHarness};
use lease_core::{FencingToken, GrantId, LeaseName, LeaseStore};
use lease_postgres::{PostgresStore, PostgresStoreOptions};
use lease_testkit::{Injection, RecordLock};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

pub(crate) type PostgresHarness = ServerHarness<Table<Defaults>>;

/// A configuration of the store.
#[async_trait]
pub(crate) trait Configuration: Send + Sync + 'static {
    const SETTINGS: &'static [(&'static str, &'static str)] = &[];
    const COMMITS_SLOWLY: bool = false;

    fn options(options: PostgresStoreOptions) -> PostgresStoreOptions {
        options
    }

    /// SQL that runs on `{table}` before it is migrated.
    const BEFORE: &'static str = "";

    async fn open(options: &PostgresStoreOptions, url: &str) -> PostgresStore {
        options.connect(url).await.unwrap()
    }
}

/// The default configuration.
pub(crate) struct Defaults;

impl Configuration for Defaults {}

/// A table of its own, for a user that has only the rights that the page of the crate lists.
pub(crate) struct Table<C>(PostgresStoreOptions, PhantomData<C>);

/// Has only the rights that are granted to it.
const USER: &str = "lease_application";

#[async_trait]
impl<C: Configuration> Provider for Table<C> {
    type Kind = PostgresKind;

    const SETTINGS: &'static [(&'static str, &'static str)] = C::SETTINGS;
    const COMMITS_SLOWLY: bool = C::COMMITS_SLOWLY;

    /// A request may take a sixth of it, on a busy machine that runs its servers as well.
    const TTL: Duration = Duration::from_secs(2);

    async fn prepare(server: &Postgres) -> Self {
        let options = C::options(PostgresStoreOptions::new().with_table(format!("leases_{}", GrantId::random())));
        let table = Self(options, PhantomData);
        table.sql(server, C::BEFORE).await;
        table.0.connect(server.url()).await.unwrap().migrate().await.unwrap();
        let user = format!(
            "do $$ begin create role {USER} login; exception when duplicate_object then null; end $$;
             grant select, insert, update on {{table}} to {USER}"
        );
        table.sql(server, &user).await;
        table
    }

    async fn open(&self, url: &str) -> Arc<dyn LeaseStore> {
        let url = url.replace("//postgres@", &format!("//{USER}@"));
        assert!(url.contains(USER), "the URL is of another user");
        Arc::new(C::open(&self.0, &url).await)
    }

    async fn back_up(&self, server: &Postgres) -> Injection {
        self.sql(server, "create table {table}_backup as table {table}").await;
        Injection::Done
    }

    async fn restore_backup(&self, server: &Postgres) {
        self.sql(server, "begin; truncate {table}; insert into {table} table {table}_backup; commit").await;
    }

    async fn lock_record(&self, server: &Postgres, name: &LeaseName) -> Option<Box<dyn RecordLock>> {
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

impl<C> Table<C> {
    /// Runs statements on the table; `{table}` stands for its name.
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
impl RecordLock for LockedRow {
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

    async fn commit(mut self: Box<Self>) {
        sqlx::raw_sql("commit").execute(&mut self.connection).await.unwrap();
    }
}
