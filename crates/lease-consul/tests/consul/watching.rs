//! The watch: what it costs, when it ends, and how fast it is.

use std::time::Duration;

use integration_tests::{
    Consul, HttpProxy, Proxy, a_blocked_application_keeps_its_leases, eventually, is_hinted_within, pass, within,
};
use lease_core::{Clock, LeaseClient, LeaseStore, SystemClock, Wakeups};
use lease_testkit::calls::{extended, name, release};

use crate::common::{LONG, ask, granted, options, request};

/// Waits until the watch stands, and drops its hints.
async fn standing(hints: &mut Wakeups) {
    within("the watch stands", Duration::from_secs(10), hints.next()).await;
    while is_hinted_within(hints, Duration::from_millis(200)).await {}
}

#[tokio::test]
async fn a_release_is_hinted_and_a_renewal_is_not() {
    let options = options();
    let url = Consul::shared().await.url();
    let (own, other) = (options.connect(url).await.unwrap(), options.connect(url).await.unwrap());
    let (claim, _) = granted(&own, &request("job", LONG)).await;
    let mut hints = other.subscribe(&name("job"));
    standing(&mut hints).await;
    extended(&own, &claim, LONG).await;
    granted(&own, &request("another", LONG)).await;
    assert!(!is_hinted_within(&mut hints, Duration::from_millis(500)).await, "neither concerns the waiter");
    release(&own, &claim).await;
    assert!(is_hinted_within(&mut hints, Duration::from_secs(2)).await);
}

/// Every answer of Consul brings all keys. What happens now and then is hinted at once all the same.
#[tokio::test]
async fn l01_hand_overs_beside_half_a_megabyte_are_hinted_at_once() {
    let options = options();
    let consul = Consul::shared().await;
    let (own, other) = (options.connect(consul.url()).await.unwrap(), options.connect(consul.url()).await.unwrap());
    let foreign = own.key(&name("x")).replace('x', "-foreign");
    ask(consul.url(), "", "PUT", &format!("/v1/kv/{foreign}"), &"x".repeat(390_000)).await;
    let mut hints = other.subscribe(&name("job"));
    standing(&mut hints).await;
    for round in 0..4 {
        let (claim, _) = granted(&own, &request("job", LONG)).await;
        release(&own, &claim).await;
        assert!(is_hinted_within(&mut hints, Duration::from_millis(250)).await, "round {round}");
    }
}

/// What happened while the network was cut is hinted once it is healed.
#[tokio::test]
async fn a_watch_outlives_a_cut_and_misses_nothing() {
    let consul = Consul::shared().await;
    let network = Proxy::start(consul.address().unwrap()).await.unwrap();
    let options = options();
    let own = options.connect(consul.url()).await.unwrap();
    let other = options.connect(&format!("http://{}", network.address())).await.unwrap();
    let (claim, _) = granted(&own, &request("job", LONG)).await;
    let mut hints = other.subscribe(&name("job"));
    standing(&mut hints).await;
    network.refuse_connections();
    network.reset_connections();
    release(&own, &claim).await;
    assert!(!is_hinted_within(&mut hints, Duration::from_millis(500)).await);
    network.heal();
    assert!(is_hinted_within(&mut hints, Duration::from_secs(4)).await);
    standing(&mut other.subscribe(&name("job"))).await;
    let (claim, _) = granted(&own, &request("job", LONG)).await;
    while is_hinted_within(&mut hints, Duration::from_millis(200)).await {}
    release(&own, &claim).await;
    assert!(is_hinted_within(&mut hints, Duration::from_secs(2)).await, "the watch stands again");
}

/// One query is open while nothing happens, and none after the last clone of the store is gone.
#[tokio::test]
async fn an_idle_watch_costs_one_open_query_and_ends_with_the_store() {
    let proxy = HttpProxy::start(Consul::shared().await.address().unwrap()).await.unwrap();
    let network = Proxy::start(proxy.address()).await.unwrap();
    let store = options().connect(&format!("http://{}", network.address())).await.unwrap();
    granted(&store, &request("job", LONG)).await;
    drop(proxy.take_requests());
    for job in ["one", "two", "one"] {
        standing(&mut store.subscribe(&name(job))).await;
    }
    pass(Duration::from_secs(2)).await;
    // The second query has no answer yet.
    assert_eq!(proxy.take_requests().len(), 1);
    let clone = store.clone();
    drop(store);
    pass(Duration::from_millis(200)).await;
    assert!(network.connections() > 0);
    drop(clone);
    eventually("no connection is left", async || network.connections() == 0).await;
}

/// Of an empty prefix Consul tells whatever happens elsewhere.
#[tokio::test]
async fn a_watch_of_nothing_does_not_follow_what_happens_elsewhere() {
    let consul = Consul::shared().await;
    let proxy = HttpProxy::start(consul.address().unwrap()).await.unwrap();
    let store = options().connect(&proxy.url()).await.unwrap();
    let mut hints = store.subscribe(&name("job"));
    within("the watch stands", Duration::from_secs(10), hints.next()).await;
    drop(proxy.take_requests());
    let began = SystemClock.now();
    let mut number = 0;
    while SystemClock.now().saturating_since(began) < Duration::from_secs(2) {
        // It tells of keys that begin alike, and of all that are deleted.
        let neighbour = format!("/v1/kv/leases-{:x}", number % 16);
        ask(consul.url(), "", if number % 32 < 16 { "PUT" } else { "DELETE" }, &neighbour, "").await;
        number += 1;
    }
    let watched = proxy.take_requests().iter().filter(|seen| seen.line.contains("recurse")).count();
    assert!((2..=9).contains(&watched), "{watched} queries");
}

/// Every change brings all keys. However many there are, the store reads about a MiB per second in the long run.
#[tokio::test]
async fn a_watch_of_much_data_is_slowed_down() {
    let consul = Consul::shared().await;
    let proxy = HttpProxy::start(consul.address().unwrap()).await.unwrap();
    let store = options().connect(&proxy.url()).await.unwrap();
    let foreign = store.key(&name("x")).replace('x', "-foreign");
    ask(consul.url(), "", "PUT", &format!("/v1/kv/{foreign}"), &"x".repeat(390_000)).await;
    let mut hints = store.subscribe(&name("job"));
    within("the watch stands", Duration::from_secs(10), hints.next()).await;
    let (claim, _) = granted(&store, &request("job", LONG)).await;
    // 520 KB each: sixteen at once, and two a second.
    for (seconds, queries) in [(3, 10..=24), (3, 3..=8)] {
        let began = SystemClock.now();
        while SystemClock.now().saturating_since(began) < Duration::from_secs(seconds) {
            extended(&store, &claim, LONG).await;
        }
        let watched = proxy.take_requests().iter().filter(|seen| seen.line.contains("recurse")).count();
        assert!(queries.contains(&watched), "{watched} queries");
    }
}

/// A waiter has the lease within a few round trips after its release: far below the poll of a second or two (L1).
#[tokio::test(flavor = "multi_thread")]
async fn l01_a_release_hands_over_within_five_round_trips() {
    let options = options();
    let url = Consul::shared().await.url();
    let mut clients = Vec::new();
    for _ in 0..2 {
        clients.push(LeaseClient::new(options.connect(url).await.unwrap()));
    }
    let store = options.connect(url).await.unwrap();
    let (claim, _) = granted(&store, &request("round-trip", LONG)).await;
    let (mut hand_overs, mut writes) = (Vec::new(), Vec::new());
    let mut lease = clients[0].acquire("job", LONG).await.unwrap();
    for round in 1..=31 {
        let began = SystemClock.now();
        extended(&store, &claim, LONG).await;
        writes.push(SystemClock.now().saturating_since(began));
        let waiter = clients[round % 2].clone();
        let waiting = tokio::spawn(async move { (waiter.acquire("job", LONG).await.unwrap(), SystemClock.now()) });
        // It has looked, and waits.
        pass(Duration::from_millis(150)).await;
        let began = SystemClock.now();
        lease.release().await.unwrap();
        let (next, at) = within("a hand-over", Duration::from_secs(5), waiting).await.unwrap();
        hand_overs.push(at.saturating_since(began));
        lease = next;
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (hand_over, write) = (median(&mut hand_overs), median(&mut writes));
    println!("hand-over: p50 {hand_over:?}, max {:?}; a write: p50 {write:?}", hand_overs[30]);
    // Of a busy machine more than this cannot be asked. The poll alone takes a second at least.
    assert!(hand_over < Duration::from_millis(400), "{hand_over:?}, with writes of {write:?}");
}

#[test]
fn l10_a_blocked_application_keeps_its_leases() {
    a_blocked_application_keeps_its_leases(
        async || options().connect(Consul::shared().await.url()).await.unwrap(),
        Duration::from_secs(2),
    );
}
