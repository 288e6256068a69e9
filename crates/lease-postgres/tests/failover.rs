//! A primary whose asynchronous replica takes over.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{acquire, granted, request};
use integration_tests::PostgresPair;
use lease_core::{Acquired, LeaseStore};
use lease_postgres::PostgresStore;

/// A store on whoever is the primary.
async fn connect(servers: &PostgresPair) -> PostgresStore {
    let store = PostgresStore::connect(&servers.url()).await.unwrap();
    store.migrate().await.unwrap();
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_fail_over_costs_no_lease() {
    let servers = PostgresPair::start().await.unwrap();
    let grant = granted(&connect(&servers).await, &request("job", "a")).await;
    servers.fail_over().await.unwrap();
    let successor = connect(&servers).await;
    let record = successor.inspect(&request("job", "a").name).await.unwrap().unwrap();
    assert_eq!(record.token, grant.token);
    assert!(matches!(acquire(&successor, &request("job", "b")).await, Ok(Acquired::Held { .. })));
}

/// The documented degradation: the successor does not know the last grant, and grants the name again. Tokens order them.
#[tokio::test(flavor = "multi_thread")]
async fn s10_a_successor_that_lacks_the_last_grant_grants_a_greater_token() {
    let servers = PostgresPair::start().await.unwrap();
    let primary = connect(&servers).await;
    granted(&primary, &request("before", "a")).await;
    servers.hold_back_data();
    let lost = granted(&primary, &request("job", "a")).await;
    servers.lose_primary().await.unwrap();
    let successor = connect(&servers).await;
    assert_eq!(successor.inspect(&request("job", "a").name).await.unwrap(), None, "the grant must be lost here");
    let next = granted(&successor, &request("job", "b")).await;
    assert!(next.token > lost.token, "{} after {}", next.token, lost.token);
}
