//! What the tests share: a server, a table of its own for each test, and short ways to ask.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::time::Duration;

use integration_tests::Postgres;
use lease_core::{
    AcquireRequest, Acquired, Claim, Clock, Grant, GrantId, HolderId, LeaseName, LeaseStore, Metadata, ReleaseRequest,
    Released, RenewRequest, Renewed, Result, SystemClock, Wakeups,
};
use lease_postgres::{PostgresStore, PostgresStoreOptions};
use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolOptions};

pub(crate) const TTL: Duration = Duration::from_secs(30);

pub(crate) async fn url() -> &'static str {
    Postgres::shared().await.url()
}

pub(crate) async fn pool() -> PgPool {
    PgPoolOptions::new().max_connections(10).connect(url().await).await.unwrap()
}

/// A store on a table that no other test has.
pub(crate) async fn store() -> PostgresStore {
    store_with(PostgresStoreOptions::new()).await
}

pub(crate) async fn store_with(options: PostgresStoreOptions) -> PostgresStore {
    let store = options.with_table(unique("leases")).with_pool(pool().await).unwrap();
    store.migrate().await.unwrap();
    store
}

/// A second store on the same table, as another process would have it.
pub(crate) async fn another(store: &PostgresStore) -> PostgresStore {
    options_of(store).with_pool(pool().await).unwrap()
}

pub(crate) fn options_of(store: &PostgresStore) -> PostgresStoreOptions {
    PostgresStoreOptions::new().with_table(table_of(store).trim_matches('"').split("\".\"").nth(1).unwrap())
}

/// The quoted name of the store's table.
pub(crate) fn table_of(store: &PostgresStore) -> String {
    let ddl = store.ddl();
    ddl.split("create table if not exists ").nth(1).unwrap().split(" (").next().unwrap().to_owned()
}

pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}_{}", &GrantId::random().to_string()[..16])
}

/// Runs a statement on the store's table, which it calls `{table}`.
pub(crate) async fn sql(store: &PostgresStore, text: &str) -> u64 {
    let text = text.replace("{table}", &table_of(store));
    sqlx::raw_sql(AssertSqlSafe(text)).execute(store.pool()).await.unwrap().rows_affected()
}

/// One value from the store's table.
pub(crate) async fn value<T>(store: &PostgresStore, text: &str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    let text = text.replace("{table}", &table_of(store));
    sqlx::query_scalar(AssertSqlSafe(text)).fetch_one(store.pool()).await.unwrap()
}

pub(crate) fn name(text: &str) -> LeaseName {
    LeaseName::new(text).unwrap()
}

pub(crate) fn holder(text: &str) -> HolderId {
    HolderId::new(text).unwrap()
}

pub(crate) fn request(name_text: &str, holder_text: &str) -> AcquireRequest {
    AcquireRequest {
        name: name(name_text),
        holder: holder(holder_text),
        grant: GrantId::random(),
        ttl: TTL,
        metadata: Metadata::default(),
        announce: false,
        look_first: false,
    }
}

pub(crate) fn claim(request: &AcquireRequest, grant: Grant) -> Claim {
    Claim { name: request.name.clone(), holder: request.holder.clone(), grant: request.grant, handle: grant.handle }
}

pub(crate) async fn acquire(store: &PostgresStore, request: &AcquireRequest) -> Result<Acquired> {
    store.acquire(std::slice::from_ref(request)).await.pop().unwrap()
}

pub(crate) async fn granted(store: &PostgresStore, request: &AcquireRequest) -> Grant {
    match acquire(store, request).await.unwrap() {
        Acquired::Granted(grant) => grant,
        other => panic!("{} was not granted: {other:?}", request.name),
    }
}

pub(crate) async fn is_held(store: &PostgresStore, request: &AcquireRequest) -> bool {
    matches!(acquire(store, request).await.unwrap(), Acquired::Held { .. })
}

pub(crate) fn renewal(claim: &Claim, ttl: Duration) -> RenewRequest {
    RenewRequest { claim: claim.clone(), ttl, metadata: None }
}

pub(crate) async fn renew(store: &PostgresStore, request: &RenewRequest) -> Result<Renewed> {
    store.renew(std::slice::from_ref(request)).await.pop().unwrap()
}

pub(crate) fn releasing(claim: &Claim) -> ReleaseRequest {
    ReleaseRequest { claim: claim.clone(), hold_for: Duration::ZERO, reserved_for: None }
}

pub(crate) async fn release(store: &PostgresStore, claim: &Claim) -> Released {
    store.release(&[releasing(claim)]).await.pop().unwrap().unwrap()
}

pub(crate) async fn sleep(duration: Duration) {
    SystemClock.sleep_until(SystemClock.now() + duration).await;
}

/// Waits until a row has expired by the server's clock.
pub(crate) async fn expired(store: &PostgresStore, name_text: &str) {
    eventually(async || {
        value::<bool>(
            store,
            &format!("select expires_at_utc <= clock_timestamp() from {{table}} where lease_name = '{name_text}'"),
        )
        .await
    })
    .await;
}

/// Waits until something is so, and fails when it is not within ten seconds.
pub(crate) async fn eventually(mut condition: impl AsyncFnMut() -> bool) {
    let deadline = SystemClock.now() + Duration::from_secs(10);
    while !condition().await {
        assert!(SystemClock.now() < deadline, "it did not come to be within ten seconds");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a hint comes within this time.
pub(crate) async fn is_hinted_within(wakeups: &mut Wakeups, patience: Duration) -> bool {
    tokio::select! {
        () = wakeups.next() => true,
        () = sleep(patience) => false,
    }
}
