//! What is sent: how many requests, and which.

use integration_tests::{Consul, HttpProxy, eventually};
use lease_core::{Break, LeaseStore};
use lease_testkit::calls::{claim, extended, inspected, is_held, name, release};

use crate::common::{LONG, granted, options, request};

#[tokio::test]
async fn each_operation_costs_as_few_requests_as_it_can() {
    let proxy = HttpProxy::start(Consul::shared().await.address().unwrap()).await.unwrap();
    let lines = || proxy.take_requests().into_iter().map(|seen| seen.line).collect::<Vec<_>>();
    let store = options().connect(&proxy.url()).await.unwrap();
    let (read, write) =
        (format!("GET /v1/kv/{}?consistent=", store.key(&name("job"))), "PUT /v1/txn?consistent=".to_owned());
    let probe = read.replace("job?", "-?");
    assert_eq!(lines(), [probe.clone(), write.clone()], "connect");
    let own = request("job", LONG);
    let (held, _) = granted(&store, &own).await;
    assert_eq!(lines(), [read.clone(), write.clone()], "acquire");
    extended(&store, &held, LONG).await;
    assert_eq!(lines(), [write.as_str()], "renew");
    assert!(is_held(&store, &request("job", LONG)).await);
    assert_eq!(lines(), [read.as_str()], "a try for a held name");
    assert!(inspected(&store, &name("job")).await.is_some());
    assert_eq!(lines(), [read.as_str()], "inspect");
    release(&store, &held).await;
    assert_eq!(lines(), [write.as_str()], "release");
    let own = request("job", LONG);
    let (held, grant) = granted(&store, &own).await;
    drop(lines());
    store.break_lease(&name("job"), grant.token, Break::Now).await.unwrap();
    assert_eq!(lines(), [read.clone(), write.clone()], "break");
    assert_eq!(claim(&own, grant), held);
}

/// In its default mode Consul may answer with what a deposed leader had: no read is sent in it, the watch included.
#[tokio::test]
async fn every_read_is_consistent_and_no_cache_answers() {
    let proxy = HttpProxy::start(Consul::shared().await.address().unwrap()).await.unwrap();
    let store = options().connect(&proxy.url()).await.unwrap();
    let mut hints = store.subscribe(&name("job"));
    hints.next().await;
    let (held, _) = granted(&store, &request("job", LONG)).await;
    store.list("", None, 9).await.unwrap();
    store.inspect(&name("none")).await.unwrap();
    release(&store, &held).await;
    let mut requests = Vec::new();
    eventually("the watch asks for what has changed", async || {
        requests.extend(proxy.take_requests());
        requests.iter().any(|seen| seen.line.contains("index="))
    })
    .await;
    for kind in ["keys=", "recurse=", "PUT /v1/txn", "index="] {
        assert!(requests.iter().any(|seen| seen.line.contains(kind)), "{kind}");
    }
    for seen in requests {
        assert!(seen.line.contains("consistent=") && !seen.line.contains("stale"), "{}", seen.line);
        assert_eq!(seen.headers["cache-control"], "no-cache");
    }
}
