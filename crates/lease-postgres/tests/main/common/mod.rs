//! Shared by the tests: a server, a table of its own for each test, and short forms of calls.

use std::time::Duration;

use integration_tests::Postgres;
pub(crate) use integration_tests::{eventually, is_hinted_within, pass};
use lease_core::{AcquireRequest, GrantId};
use lease_postgres::{PostgresStore, PostgresStoreOptions};
use lease_testkit::calls;
pub(crate) use lease_testkit::calls::{
    acquire, claim, granted, holder, is_held, name, plain_release, release, renew, renewal,
};
use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolOptions};

pub(crate) const TTL: Duration = Duration::from_secs(30);

pub(crate) async fn url() -> &'static str {
    Postgres::shared().await.url()
}

pub(crate) async fn pool() -> PgPool {
    PgPoolOptions::new().max_connections(10).connect(url().await).await.unwrap()
}

/// Creates a store on a table that no other test uses.
pub(crate) async fn store() -> PostgresStore {
    store_with(PostgresStoreOptions::new()).await
}

pub(crate) async fn store_with(options: PostgresStoreOptions) -> PostgresStore {
    let store = options.with_table(unique("leases")).with_pool(&pool().await).unwrap();
    store.migrate().await.unwrap();
    store
}

/// Creates a store on a table whose leases can be fenced.
pub(crate) async fn fenced_store() -> PostgresStore {
    store_with(PostgresStoreOptions::new().with_fences(true)).await
}

/// Creates a second store on the same table, as in another process.
pub(crate) async fn another(store: &PostgresStore) -> PostgresStore {
    options_of(store).with_pool(&pool().await).unwrap()
}

pub(crate) fn options_of(store: &PostgresStore) -> PostgresStoreOptions {
    PostgresStoreOptions::new().with_table(table_of(store).trim_matches('"').split("\".\"").nth(1).unwrap())
}

/// Returns the quoted name of the store's table.
pub(crate) fn table_of(store: &PostgresStore) -> String {
    let ddl = store.ddl();
    ddl.split("create table if not exists ").nth(1).unwrap().split(" (").next().unwrap().to_owned()
}

pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}_{}", &GrantId::random().to_string()[..16])
}

/// Runs a statement on the store's table; `{table}` stands for its name.
pub(crate) async fn sql(store: &PostgresStore, text: &str) -> u64 {
    let text = text.replace("{table}", &table_of(store));
    sqlx::raw_sql(AssertSqlSafe(text)).execute(&pool().await).await.unwrap().rows_affected()
}

/// Returns one value from the store's table.
pub(crate) async fn value<T>(store: &PostgresStore, text: &str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    let text = text.replace("{table}", &table_of(store));
    sqlx::query_scalar(AssertSqlSafe(text)).fetch_one(&pool().await).await.unwrap()
}

pub(crate) fn request(name_text: &str, holder_text: &str) -> AcquireRequest {
    calls::request(name(name_text), holder(holder_text), TTL)
}

/// Returns the URL of the tests' server with this application name.
pub(crate) async fn url_of(application: &str) -> String {
    format!("{}?application_name={application}", url().await)
}

/// Returns the process ids of the sessions with this application name, the oldest first.
pub(crate) async fn sessions(application: &str) -> Vec<i32> {
    sqlx::query_scalar("select pid from pg_stat_activity where application_name = $1 order by backend_start")
        .bind(application)
        .fetch_all(&pool().await)
        .await
        .unwrap()
}

/// Locks rows of the store's table, as other software would, until the transaction is dropped.
pub(crate) async fn lock(store: &PostgresStore, clause: &str) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut other = pool().await.begin().await.unwrap();
    let text = format!("select from {} {clause}", table_of(store));
    sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut *other).await.unwrap();
    other
}

/// Waits until a row has expired by the server's clock.
pub(crate) async fn expired(store: &PostgresStore, name_text: &str) {
    eventually("the row expires", async || {
        value::<bool>(
            store,
            &format!("select expires_at_utc <= clock_timestamp() from {{table}} where lease_name = '{name_text}'"),
        )
        .await
    })
    .await;
}
