//! A primary whose asynchronous replica takes over.

use integration_tests::{PostgresPair, Proxy};
use lease_core::{Acquired, ErrorKind, LeaseStore};
use lease_postgres::{PostgresStore, PostgresStoreOptions};

use crate::common::{acquire, granted, request};

/// Connects to the current primary.
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

/// The documented limit: the new primary lacks the last grant, and grants the name again. Tokens order the two.
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

/// A primary is demoted with its connections open: it reports that, and the next call resolves the name again.
#[tokio::test(flavor = "multi_thread")]
async fn the_connection_to_a_server_that_reports_it_is_a_replica_is_closed() {
    let servers = PostgresPair::start().await.unwrap();
    let primary = connect(&servers).await;
    let held = granted(&primary, &request("held", "a")).await;
    for prepared in [true, false] {
        let name = Proxy::start(servers.replica_address()).await.unwrap();
        let url = format!("postgres://postgres@{}/postgres", name.address());
        let options = PostgresStoreOptions::new().with_prepared_statements(prepared).with_notifications(false);
        let store = options.connect(&url).await.unwrap();
        integration_tests::eventually("the replica has the table", async || {
            store.inspect(&request("held", "a").name).await.is_ok_and(|record| record.is_some())
        })
        .await;
        for _ in 0..2 {
            let error = acquire(&store, &request("job", "a")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        }
        // Open connections still lead to the old primary.
        name.redirect(servers.address());
        let grant = granted(&store, &request(if prepared { "job-1" } else { "job-2" }, "a")).await;
        assert!(grant.token > held.token);
    }
}
