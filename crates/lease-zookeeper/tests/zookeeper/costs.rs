//! What operations cost: requests, and the time of a hand-over.

use std::time::Duration;

use integration_tests::{Direction, ZooKeeper, pass, within};
use lease_core::{Clock, LeaseClient, LeaseOptions, LeaseStore, SystemClock};
use lease_testkit::calls::{claim, extended, granted, holder, plain_release, request};

use crate::common::{LONG, PATIENCE, address, name, options, proxy};

/// How many packets the server has received.
async fn received(server: &ZooKeeper) -> u64 {
    let answer = server.four_letters("mntr").await.unwrap().unwrap();
    let line = answer.lines().find(|line| line.starts_with("zk_packets_received")).unwrap();
    line.rsplit('\t').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn requests_are_as_few_as_the_page_says() {
    let server = ZooKeeper::start_local(&[]).await.unwrap();
    // So long that no ping is counted.
    let options = options().with_session_timeout(Duration::from_secs(60));
    let store = options.connect(&address(&server)).await.unwrap();
    let other = options.connect(&address(&server)).await.unwrap();
    // The first operation asks for the clock as well.
    granted(&store, &request(name("first"), holder("one"), LONG)).await;
    let wish = request(name("job"), holder("one"), LONG);
    let mut before = received(&server).await;
    // Asking costs packets, too.
    let asking = received(&server).await - before;
    before += asking;
    let mut count = async |what: &str, expected: u64| {
        let now = received(&server).await;
        assert_eq!(now - before - asking, expected, "{what}");
        before = now;
    };
    let grant = granted(&store, &wish).await;
    count("acquire", 3).await;
    let claim = claim(&wish, grant);
    extended(&store, &claim, LONG).await;
    count("renew", 1).await;
    store.inspect(&name("job")).await.unwrap();
    count("inspect", 2).await;
    // A process that has written nothing asks for the clock.
    other.inspect(&name("job")).await.unwrap();
    count("inspect of a cold process", 3).await;
    other.acquire(&[request(name("job"), holder("two"), LONG)]).await.remove(0).unwrap();
    count("acquire of a name that is held", 2).await;
    store.release(&[plain_release(&claim)]).await.remove(0).unwrap();
    count("release", 1).await;
    store.list("", None, 9).await.unwrap();
    count("list: one lease each", 4).await;
}

/// From the call of the release to the grant of the waiter, in round trips, with 60 ms a round trip.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l01_a_hand_over_by_push_takes_few_round_trips() {
    const ROUND_TRIP: Duration = Duration::from_millis(60);
    let server = ZooKeeper::shared().await;
    let options = options();
    let (one_network, one) = proxy(server).await;
    let (other_network, other) = proxy(server).await;
    let one = LeaseClient::new(options.connect(&one).await.unwrap());
    let other = LeaseClient::new(options.connect(&other).await.unwrap());
    for network in [&one_network, &other_network] {
        network.delay(Direction::Both, ROUND_TRIP / 2);
    }
    let mut took = Vec::new();
    for round in 0..21 {
        let (holder, waiter) = if round % 2 == 0 { (&one, &other) } else { (&other, &one) };
        let lease = holder.acquire("job", LeaseOptions::new(LONG)).await.unwrap();
        let waiting = tokio::spawn({
            let waiter = waiter.clone();
            async move {
                let lease = waiter.acquire("job", LeaseOptions::new(LONG)).await.unwrap();
                (SystemClock.now(), lease)
            }
        });
        pass(ROUND_TRIP * 8).await;
        let began = SystemClock.now();
        lease.release().await.unwrap();
        let (won, lease) = within("the waiter", PATIENCE, waiting).await.unwrap();
        took.push(won.saturating_since(began));
        lease.release().await.unwrap();
    }
    took.sort();
    let in_round_trips = |took: Duration| took.as_secs_f64() / ROUND_TRIP.as_secs_f64();
    let (p50, longest) = (in_round_trips(took[took.len() / 2]), in_round_trips(took[took.len() - 1]));
    println!("hand-over: {took:?}, p50 {p50:.1} round trips, longest {longest:.1}");
    assert!(p50 <= 5.0, "{took:?}");
}
