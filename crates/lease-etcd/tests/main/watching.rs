//! The watch when connections, servers or history are lost.

use std::time::Duration;

use integration_tests::{Direction, Etcd, Proxy};
use lease_core::{LeaseStore, Wakeups};
use lease_etcd::EtcdStore;

use crate::common::*;

/// Drops all pending hints, so that the next hint is a new one.
async fn drain(hints: &mut Wakeups) {
    loop {
        tokio::select! {
            () = hints.next() => {}
            () = pass(Duration::from_millis(200)) => return,
        }
    }
}

/// Releases a lease, and asserts that the subscription is hinted within moments.
async fn expect_hint(store: &EtcdStore, hints: &mut Wakeups, what: &str) {
    drain(hints).await;
    let (claim, _) = granted(store, &request("job", LONG)).await;
    release(store, &claim).await;
    within(what, Duration::from_secs(3), hints.next()).await;
}

/// If revisions that the watch has not received are compacted while it is cut off, it starts at the current one, and hints
/// once.
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

/// Compacting revisions that an established watch has received does not disturb it.
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

/// A watch on a connection that is dead without a sign moves as soon as a call leaves that connection, and misses no hint.
#[tokio::test]
async fn a_watch_follows_the_calls_to_another_endpoint() {
    let etcd = Etcd::shared().await;
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let options = options();
    let store = connect_in_order(&options, &[etcd.url_through(&network), etcd.url().to_owned()]).await;
    let other = options.connect([etcd.url()]).await.unwrap();
    let (claim, _) = granted(&other, &request("job", LONG)).await;
    let mut hints = store.subscribe(&name("job"));
    within("the watch stands", PATIENCE, hints.next()).await;
    drain(&mut hints).await;
    network.black_hole(Direction::Both);
    release(&other, &claim).await;
    let job = name("job");
    tokio::select! {
        record = store.inspect(&job) => panic!("through a black hole: {record:?}"),
        () = pass(Duration::from_millis(200)) => {}
    }
    within("the release that was missed", Duration::from_secs(3), hints.next()).await;
    expect_hint(&store, &mut hints, "a release").await;
}

/// L2: an abandoned call does not hint all waiters. Calls are abandoned when the server is busy, and each hinted waiter would
/// make it busier.
#[tokio::test]
async fn l02_an_abandoned_call_is_no_hint() {
    let etcd = Etcd::shared().await;
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let store = options().connect([etcd.url_through(&network)]).await.unwrap();
    let mut hints = store.subscribe(&name("job"));
    within("the watch stands", PATIENCE, hints.next()).await;
    drain(&mut hints).await;
    network.delay(Direction::Answers, Duration::from_millis(50));
    let abandoned = async {
        let job = name("job");
        for _ in 0..10 {
            tokio::select! {
                record = store.inspect(&job) => panic!("through a delay: {record:?}"),
                () = pass(Duration::from_millis(20)) => {}
            }
            // The next call is on a new connection.
            store.inspect(&job).await.unwrap();
        }
        pass(Duration::from_secs(2)).await;
    };
    tokio::select! {
        () = hints.next() => panic!("a hint of nothing"),
        () = abandoned => {}
    }
    network.heal();
    expect_hint(&store, &mut hints, "a release").await;
}

/// Changes while the connection is broken are hinted when the watch is established again, and nothing else is.
#[tokio::test]
async fn a_watch_goes_on_where_it_was() {
    let etcd = Etcd::start().await;
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let options = options();
    let waiter = options.connect([etcd.url_through(&network)]).await.unwrap();
    let store = options.connect([etcd.url()]).await.unwrap();
    let (claim, _) = granted(&store, &request("job", LONG)).await;
    let (mut job, mut other) = (waiter.subscribe(&name("job")), waiter.subscribe(&name("other")));
    within("the watch stands", PATIENCE, async { tokio::join!(job.next(), other.next()) }).await;
    network.refuse_connections();
    network.reset_connections();
    pass(Duration::from_millis(200)).await;
    release(&store, &claim).await;
    // A subscription while the watch is not established.
    let mut late = waiter.subscribe(&name("late"));
    network.heal();
    within("the release", PATIENCE, job.next()).await;
    within("the watch stands for the newcomer", PATIENCE, late.next()).await;
    tokio::select! {
        () = other.next() => panic!("a hint of nothing"),
        () = pass(Duration::from_secs(2)) => {}
    }
}

/// A restart of the server ends the stream.
#[tokio::test]
async fn a_watch_outlives_a_restart() {
    let etcd = Etcd::start().await;
    let store = options().connect([etcd.url()]).await.unwrap();
    let mut hints = store.subscribe(&name("job"));
    within("the watch stands", PATIENCE, hints.next()).await;
    etcd.restart().await.unwrap();
    eventually("the server serves again", async || store.inspect(&name("job")).await.ok()).await;
    let mut late = store.subscribe(&name("late"));
    within("the watch stands again", PATIENCE, late.next()).await;
    expect_hint(&store, &mut hints, "a release").await;
}

/// A server that has lost its data starts its revisions again, so the revision that the watch waits for would never come.
#[tokio::test]
async fn a_watch_begins_anew_in_another_history() {
    let etcd = Etcd::start().await;
    let empty = Etcd::start().await;
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let options = options();
    let store = options.connect([etcd.url_through(&network)]).await.unwrap();
    for number in 0..20 {
        let (claim, _) = granted(&store, &request(&format!("job/{number}"), LONG)).await;
        release(&store, &claim).await;
    }
    let mut hints = store.subscribe(&name("job"));
    within("the watch stands", PATIENCE, hints.next()).await;
    drain(&mut hints).await;
    network.redirect(empty.address().unwrap());
    network.reset_connections();
    within("a hint, since some may have been missed", PATIENCE, hints.next()).await;
    let other = options.connect([empty.url()]).await.unwrap();
    drain(&mut hints).await;
    let (claim, _) = granted(&other, &request("job", LONG)).await;
    release(&other, &claim).await;
    within("a release in the other history", Duration::from_secs(3), hints.next()).await;
}

/// An expiry is hinted as well: a waiter need not poll to take over from a crashed holder.
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
