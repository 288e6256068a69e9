//! Overlapping batches lock their rows in one order: no two of them ever wait for each other.

use integration_tests::Postgres;
use lease_core::{Acquired, Claim, LeaseStore, Result};
use lease_postgres::{PostgresStore, PostgresStoreOptions};
use sqlx::{AssertSqlSafe, PgPool};
use std::time::Duration;

use crate::common::{claim, eventually, pass, plain_release, renewal, unique};

const NAMES: usize = 32;
const ROUNDS: usize = 15;

/// A deadlock is handled as a row that is locked for long, and tried again: only the statistics of the server show it.
#[tokio::test(flavor = "multi_thread")]
async fn s12_overlapping_batches_never_deadlock() {
    // Deadlocks are detected long before the lock time-out.
    let settings = [("deadlock_timeout", "2ms"), ("max_connections", "50")];
    let server = Postgres::start_local(&settings).await.unwrap();
    let application = unique("crossing");
    let url = format!("{}?application_name={application}", server.url());
    let options = PostgresStoreOptions::new().with_notifications(false);
    let stores = [options.connect(&url).await.unwrap(), options.connect(&url).await.unwrap()];
    stores[0].migrate().await.unwrap();
    // So that rows stay locked for longer.
    let admin = PgPool::connect(server.url()).await.unwrap();
    let slow = "create function slow() returns trigger language plpgsql as $$ begin perform pg_catalog.pg_sleep(0.0005); return new; end $$;
        create trigger slow before update on app_runtime_leases for each row execute function public.slow()";
    sqlx::raw_sql(AssertSqlSafe(slow)).execute(&admin).await.unwrap();
    for round in 0..ROUNDS {
        let claims = acquire_all(&stores, round).await;
        let renewals: Vec<_> = claims.iter().map(|claim| renewal(claim, crate::common::TTL)).collect();
        let releases: Vec<_> = claims.iter().rev().map(plain_release).collect();
        let backwards: Vec<_> = renewals.iter().rev().cloned().collect();
        tokio::join!(stores[0].renew(&renewals), stores[1].renew(&backwards));
        tokio::join!(stores[0].renew(&renewals), stores[1].release(&releases));
    }
    // A session reports its statistics at its end.
    drop(stores);
    eventually("the sessions end", async || {
        let count = "select count(*) from pg_stat_activity where application_name = $1";
        let count: i64 = sqlx::query_scalar(count).bind(&application).fetch_one(&admin).await.unwrap();
        count == 0
    })
    .await;
    pass(Duration::from_millis(100)).await;
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(sqlx::query_scalar::<_, i64>(deadlocks).fetch_one(&admin).await.unwrap(), 0);
}

/// Acquires the same names in two overlapping batches. Returns the claims of those that were granted.
async fn acquire_all(stores: &[PostgresStore; 2], round: usize) -> Vec<Claim> {
    let requests = |holder: &str| -> Vec<_> {
        (0..NAMES).map(|number| crate::common::request(&format!("{}/{number}", round % 2), holder)).collect()
    };
    let (forwards, mut backwards) = (requests("a"), requests("b"));
    backwards.reverse();
    let (first, second) = tokio::join!(stores[0].acquire(&forwards), stores[1].acquire(&backwards));
    let granted = |(request, answer): (&_, Result<Acquired>)| match answer {
        Ok(Acquired::Granted(grant)) => Some(claim(request, grant)),
        _ => None,
    };
    let all = forwards.iter().zip(first).chain(backwards.iter().zip(second));
    all.filter_map(granted).collect()
}
