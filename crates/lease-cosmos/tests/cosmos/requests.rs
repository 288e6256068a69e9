//! What is sent: how many requests, and which.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use integration_tests::{Cosmos, StubAnswer};
use lease_core::{Break, Error, ErrorKind, LeaseStore};
use lease_cosmos::CosmosStoreOptions;
use lease_testkit::calls::{acquire, extended, inspected, is_held, name, release};

use crate::{
    common::{LONG, granted, proxied, request},
    harness::{LEASES, database},
};

#[tokio::test]
async fn each_operation_costs_as_few_requests_as_it_can_and_each_write_has_its_condition() {
    let (store, proxy, database) = proxied().await;
    let container = format!("/dbs/{database}/colls/leases");
    let mut all = Vec::new();
    let mut lines = || {
        let seen = proxy.take_requests();
        let lines = seen.iter().map(|seen| seen.line.replace(&container, "")).collect::<Vec<_>>();
        all.extend(seen);
        lines
    };
    assert_eq!(lines(), ["GET /", "GET "], "connect");
    let (held, _) = granted(&store, &request("job/a", LONG)).await;
    assert_eq!(lines(), ["GET /docs/job!2Fa", "POST /docs"], "acquire");
    extended(&store, &held, LONG).await;
    assert_eq!(lines(), ["PUT /docs/job!2Fa"], "renew");
    assert!(is_held(&store, &request("job/a", LONG)).await);
    assert_eq!(lines(), ["GET /docs/job!2Fa"], "a try for a held name");
    assert!(inspected(&store, &name("job/a")).await.is_some());
    assert_eq!(lines(), ["GET /docs/job!2Fa"], "inspect");
    release(&store, &held).await;
    assert_eq!(lines(), ["PUT /docs/job!2Fa"], "release");
    let (_, grant) = granted(&store, &request("job/a", LONG)).await;
    assert_eq!(lines(), ["GET /docs/job!2Fa", "PUT /docs/job!2Fa"], "acquire again");
    store.break_lease(&name("job/a"), grant.token, Break::Now).await.unwrap();
    store.list("", None, 9).await.unwrap();
    assert_eq!(lines(), ["GET /docs/job!2Fa", "PUT /docs/job!2Fa", "POST /docs"], "break and list");

    for seen in all {
        // Cosmos DB ignores it where it would matter, on an upsert: neither is ever sent.
        assert!(!seen.headers.contains_key("if-none-match"), "{seen:?}");
        assert!(!seen.headers.contains_key("x-ms-documentdb-is-upsert"), "{seen:?}");
        assert_eq!(seen.headers.contains_key("if-match"), seen.line.starts_with("PUT"), "{seen:?}");
        assert_eq!(seen.headers["x-ms-version"], "2018-12-31");
        assert!(seen.headers["authorization"].to_str().unwrap().starts_with("type%3Dmaster%26ver%3D1.0%26sig%3D"));
        let is_item = seen.line.contains("/docs") && !seen.headers.contains_key("x-ms-documentdb-isquery");
        assert_eq!(seen.headers.get("x-ms-documentdb-partitionkey").is_some(), is_item, "{seen:?}");
    }
}

/// A session token is sent back, so that a replica which is behind does not answer.
#[tokio::test]
async fn session_tokens_are_sent_back() {
    let (store, proxy, _) = proxied().await;
    proxy.add_header("x-ms-session-token", "0:-1#42");
    store.inspect(&name("job")).await.unwrap();
    drop(proxy.take_requests());
    proxy.add_header("x-ms-session-token", "1:-1#7");
    store.inspect(&name("job")).await.unwrap();
    store.inspect(&name("job")).await.unwrap();
    let sent: Vec<_> = proxy.take_requests().iter().map(|seen| seen.headers["x-ms-session-token"].clone()).collect();
    assert_eq!(sent, ["0:-1#42", "0:-1#42,1:-1#7"]);
}

/// A replica that is behind says that it has not got the item: the name is not free for that (S19).
#[tokio::test]
async fn a_replica_that_is_behind_frees_no_name() {
    let (store, proxy, _) = proxied().await;
    for (status, substatus) in [(404, "1002"), (404, "1003"), (500, "0")] {
        proxy.answer(move |seen| {
            let answer = StubAnswer::new(status, "{}").with_header("x-ms-activity-id", "1");
            seen.line.starts_with("GET").then(|| answer.with_header("x-ms-substatus", substatus))
        });
        let error = acquire(&store, &request("job", LONG)).await.unwrap_err();
        let kind = if substatus == "1003" { ErrorKind::Invalid } else { ErrorKind::Unavailable };
        assert_eq!(error.kind(), kind, "{error}");
    }
}

/// A token provider is asked for each request. While it has no token, nothing is sent, and its error is that of the call.
#[tokio::test]
async fn a_token_provider_is_asked_for_each_request() {
    let cosmos = Cosmos::shared().await;
    let database = database(cosmos.url(), LEASES).await;
    let proxy = integration_tests::HttpProxy::start(cosmos.address().unwrap()).await.unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let options = CosmosStoreOptions::new().with_token_provider(move || {
        let number = counter.fetch_add(1, Ordering::Relaxed);
        async move {
            match number {
                4.. => Err(Error::new(ErrorKind::Unavailable, "token", "no token today")),
                _ => Ok(format!("hunter{number}")),
            }
        }
    });
    assert!(!format!("{options:?}").contains("hunter"));
    let store = options.connect(&proxy.url(), &database, "leases").await.unwrap();
    let (held, _) = granted(&store, &request("job", LONG)).await;
    let seen = proxy.take_requests();
    for (number, seen) in seen.iter().enumerate() {
        assert_eq!(seen.headers["authorization"], format!("type%3Daad%26ver%3D1.0%26sig%3Dhunter{number}"));
    }
    let error = lease_testkit::calls::renew(&store, &lease_testkit::calls::renewal(&held, LONG)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("no token today"), "{error}");
    assert_eq!((seen.len(), proxy.take_requests().len()), (4, 0));
}
