//! The watch under adverse conditions.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::*;
use integration_tests::{Direction, Etcd, Proxy};
use lease_core::{LeaseStore, Wakeups};
use lease_etcd::EtcdStore;

/// The next hint is the one that is asked for.
async fn drain(hints: &mut Wakeups) {
    loop {
        tokio::select! {
            () = hints.next() => {}
            () = pass(Duration::from_millis(200)) => return,
        }
    }
}

/// A release that is seen by a subscription within moments.
async fn expect_hint(store: &EtcdStore, hints: &mut Wakeups, what: &str) {
    drain(hints).await;
    let (claim, _) = granted(store, &request("job", LONG)).await;
    release(store, &claim).await;
    within(what, Duration::from_secs(3), hints.next()).await;
}

/// What the watch has not seen is compacted away while it is cut off: it begins anew, and hints once.
#[tokio::test]
async fn a_watch_outlives_compaction() {
    let etcd = Etcd::start().await;
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let options = options();
    let waiter = options.connect([etcd.url_through(&network)]).await.unwrap();
    let store = options.connect([etcd.url()]).await.unwrap();
    let mut hints = waiter.subscribe(&name("job"));
    within("the watch stands", PATIENCE, hints.next()).await;
    expect_hint(&store, &mut hints, "a release").await;

    drain(&mut hints).await;
    network.refuse_connections();
    network.reset_connections();
    let mut driver = etcd_client::Client::connect([etcd.url()], None).await.unwrap();
    let mut revision = 0;
    for number in 0..50 {
        revision = driver.put("other", number.to_string(), None).await.unwrap().header().unwrap().revision();
    }
    driver.compact(revision, Some(etcd_client::CompactionOptions::new().with_physical())).await.unwrap();
    driver.defragment().await.unwrap();
    network.heal();
    within("a hint after the reconnect", PATIENCE, hints.next()).await;
    expect_hint(&store, &mut hints, "a release after the compaction").await;
}

/// Compacting what a standing watch has seen does it no harm.
#[tokio::test]
async fn a_standing_watch_is_not_disturbed_by_compaction() {
    let etcd = Etcd::start().await;
    let store = options().connect([etcd.url()]).await.unwrap();
    let mut hints = store.subscribe(&name("job"));
    within("the watch stands", PATIENCE, hints.next()).await;
    let mut driver = etcd_client::Client::connect([etcd.url()], None).await.unwrap();
    let revision = driver.put("other", "", None).await.unwrap().header().unwrap().revision();
    driver.compact(revision, None).await.unwrap();
    expect_hint(&store, &mut hints, "a release").await;
}

/// A watch whose connection is dead without a sign moves as soon as any call notices.
#[tokio::test]
async fn a_watch_follows_the_calls_to_another_endpoint() {
    let etcd = Etcd::shared().await;
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let store = connect_in_order(&options(), &[etcd.url_through(&network), etcd.url().to_owned()]).await;
    let mut hints = store.subscribe(&name("job"));
    within("the watch stands", PATIENCE, hints.next()).await;
    drain(&mut hints).await;
    network.black_hole(Direction::Both);
    let job = name("job");
    tokio::select! {
        record = store.inspect(&job) => panic!("through a black hole: {record:?}"),
        () = pass(Duration::from_millis(200)) => {}
    }
    within("a hint when the watch stands elsewhere", Duration::from_secs(3), hints.next()).await;
    expect_hint(&store, &mut hints, "a release").await;
}

/// A server that restarts has forgotten the stream.
#[tokio::test]
async fn a_watch_outlives_a_restart() {
    let etcd = Etcd::start().await;
    let store = options().connect([etcd.url()]).await.unwrap();
    let mut hints = store.subscribe(&name("job"));
    within("the watch stands", PATIENCE, hints.next()).await;
    drain(&mut hints).await;
    etcd.restart().await.unwrap();
    within("a hint when the watch stands again", PATIENCE, hints.next()).await;
    expect_hint(&store, &mut hints, "a release").await;
}

/// An expiry is hinted, too: a waiter need not poll to take over from a crashed holder.
#[tokio::test]
async fn l01_an_expiry_is_hinted() {
    let store = store().await;
    let mut hints = store.subscribe(&name("job"));
    within("the watch stands", PATIENCE, hints.next()).await;
    drain(&mut hints).await;
    granted(&store, &request("job", SHORT)).await;
    within("the expiry", SHORT * 3, hints.next()).await;
    assert!(is_free(&store, "job").await);
}
