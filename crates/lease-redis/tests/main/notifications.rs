//! Hints by `SUBSCRIBE`: when they arrive, and that they arrive again after faults.

use std::time::Duration;

use integration_tests::{Direction, Proxy, Redis, RedisCluster, Reply, every_kind_of_release_is_hinted, subscribed};
use lease_core::{Clock, LeaseClient, LeaseOptions, LeaseStore, SystemClock};
use lease_redis::RedisStore;

use crate::common::{
    TTL, another, claim, eventually, granted, is_hinted_within, key, name, options, redis, release, request, store,
};

/// Far above the time of a hint.
const SOON: Duration = Duration::from_secs(5);
/// Long enough for the arrival of an unexpected hint.
const QUIET: Duration = Duration::from_millis(150);

/// Returns how many connections are subscribed to the channel of a name.
async fn subscribers(store: &RedisStore, name_text: &str) -> Reply {
    match redis(&["PUBSUB", "NUMSUB", &key(store, name_text)]).await {
        Reply::Many(counts) => counts[1].clone(),
        other => panic!("unexpected answer: {other:?}"),
    }
}

#[tokio::test]
async fn l1_every_kind_of_release_sends_a_hint_to_other_processes() {
    let store = store().await;
    every_kind_of_release_is_hinted(&store, &another(&store).await).await;
}

/// The hint is pushed: a poll would take more than a second. The test fails if the message is missing.
#[tokio::test]
async fn l1_a_hand_over_between_two_clients_takes_no_poll() {
    let store = store().await;
    let (holder, waiter) = (LeaseClient::new(store.clone()), LeaseClient::new(another(&store).await));
    let mut longest = Duration::ZERO;
    for _ in 0..5 {
        let lease = holder.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
        let waiting = waiter.acquire("job", LeaseOptions::new(TTL));
        let releasing = async {
            // By then the waiter has tried without success and sleeps.
            crate::common::pass(Duration::from_millis(200)).await;
            let released = SystemClock.now();
            lease.release().await.unwrap();
            released
        };
        let (won, released) = tokio::join!(async { (waiting.await.unwrap(), SystemClock.now()) }, releasing);
        longest = longest.max(won.1.saturating_since(released));
        won.0.release().await.unwrap();
    }
    assert!(longest < Duration::from_millis(500), "{longest:?}");
}

#[tokio::test]
async fn a_grant_with_announce_sends_a_hint() {
    let store = store().await;
    let mut wakeups = subscribed(&store, "job").await;
    let one = request("job", "a").with_announce(true);
    let grant = granted(&store, &one).await;
    assert!(is_hinted_within(&mut wakeups, SOON).await, "a grant");
    // A repetition of the attempt is no new grant.
    granted(&store, &one).await;
    assert!(!is_hinted_within(&mut wakeups, QUIET).await);
    release(&store, &claim(&one, grant)).await;

    let (mut announced, mut silent) = (subscribed(&store, "announced").await, subscribed(&store, "silent").await);
    store.acquire(&[request("announced", "a").with_announce(true), request("silent", "a")]).await;
    assert!(is_hinted_within(&mut announced, SOON).await, "a grant in a batch");
    assert!(!is_hinted_within(&mut silent, QUIET).await, "a grant in a batch without with_announce");
}

#[tokio::test]
async fn one_connection_serves_all_subscriptions_and_ends_with_the_store() {
    let store = store().await;
    let watcher = another(&store).await;
    let mut all = Vec::new();
    for at in 0..20 {
        all.push(subscribed(&store, &format!("job-{at}")).await);
        all.push(subscribed(&store.clone(), "job-0").await);
    }
    assert_eq!(subscribers(&watcher, "job-0").await, Reply::Integer(1));
    assert_eq!(subscribers(&watcher, "job-19").await, Reply::Integer(1));
    drop(store);
    eventually("the connection ends", async || subscribers(&watcher, "job-0").await == Reply::Integer(0)).await;
}

/// The server then sends no messages without a receiver.
#[tokio::test]
async fn a_channel_is_unsubscribed_after_the_last_waiter() {
    let store = store().await;
    let ended = subscribed(&store, "ended").await;
    let _stays = subscribed(&store, "stays").await;
    drop(ended);
    eventually("the channel is unsubscribed", async || subscribers(&store, "ended").await == Reply::Integer(0)).await;
    assert_eq!(subscribers(&store, "stays").await, Reply::Integer(1));
    subscribed(&store, "ended").await;
}

#[tokio::test]
async fn without_notifications_there_is_no_connection() {
    let store = options().with_notifications(false).connect(Redis::shared().await.url()).await.unwrap();
    assert!(!store.capabilities().push);
    let mut never = store.subscribe(&name("job"));
    assert!(!is_hinted_within(&mut never, QUIET).await);
    assert_eq!(subscribers(&store, "job").await, Reply::Integer(0));
}

#[tokio::test]
async fn s20_each_subscription_gets_a_hint_after_a_reconnect() {
    let server = Redis::start_local(&[]).await.unwrap();
    let proxy = Proxy::start(server.address().unwrap()).await.unwrap();
    let options = options();
    let store = options.connect(&server.url_through(&proxy)).await.unwrap();
    let other = options.connect(server.url()).await.unwrap();
    let mut wakeups = subscribed(&store, "job").await;
    let held = request("job", "a");
    let grant = granted(&other, &held).await;
    proxy.refuse_connections();
    proxy.reset_connections();
    release(&other, &claim(&held, grant)).await;
    assert!(!is_hinted_within(&mut wakeups, QUIET).await);
    // A new subscription waits for the connection, too.
    let mut late = store.subscribe(&name("late"));
    assert!(!is_hinted_within(&mut late, QUIET).await);
    proxy.heal();
    assert!(is_hinted_within(&mut wakeups, SOON).await, "a subscription from before the cut");
    assert!(is_hinted_within(&mut late, SOON).await, "a subscription from during the cut");
    for wakeups in [&mut wakeups, &mut late] {
        while is_hinted_within(wakeups, QUIET).await {}
    }
    let held = request("job", "a");
    let grant = granted(&other, &held).await;
    release(&other, &claim(&held, grant)).await;
    assert!(is_hinted_within(&mut wakeups, SOON).await, "a release after the reconnect");

    server.kill().await.unwrap();
    assert!(!is_hinted_within(&mut wakeups, QUIET).await);
    server.start_again().await.unwrap();
    assert!(is_hinted_within(&mut wakeups, SOON).await, "after the crash");
    let _ = server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap();
    assert!(is_hinted_within(&mut wakeups, SOON).await, "after an administrator's kill");
}

#[tokio::test]
async fn s20_a_half_open_connection_is_detected() {
    let server = Redis::shared().await;
    let proxy = Proxy::start(server.address().unwrap()).await.unwrap();
    let options = options();
    let store = options.connect(&server.url_through(&proxy)).await.unwrap();
    let other = options.connect(server.url()).await.unwrap();
    let mut wakeups = subscribed(&store, "job").await;
    proxy.black_hole(Direction::Both);
    assert!(!is_hinted_within(&mut wakeups, QUIET).await);
    proxy.heal();
    let hinted = async {
        loop {
            let request = request("job", "a");
            let grant = granted(&other, &request).await;
            release(&other, &claim(&request, grant)).await;
            if is_hinted_within(&mut wakeups, Duration::from_millis(200)).await {
                return;
            }
        }
    };
    tokio::select! {
        () = hinted => {}
        () = crate::common::pass(Duration::from_secs(30)) => panic!("no hint within 30 s after the network was restored"),
    }
}

#[tokio::test]
async fn a_cluster_hints_from_every_server() {
    let cluster = RedisCluster::start(3).await.unwrap();
    let options = options();
    let store = options.connect(&cluster.url()).await.unwrap();
    let other = options.connect(&cluster.url()).await.unwrap();
    // Names on all three servers.
    for at in 0..12 {
        let job = format!("job-{at}");
        let mut wakeups = subscribed(&store, &job).await;
        let request = request(&job, "a");
        let grant = granted(&other, &request).await;
        release(&other, &claim(&request, grant)).await;
        assert!(is_hinted_within(&mut wakeups, SOON).await, "{job}");
    }
}

#[test]
fn subscriptions_survive_the_runtime_of_the_first_one() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (first, server) = (runtime(), runtime());
    let url = server.block_on(async { Redis::shared().await.url().to_owned() });
    let options = options();
    let (store, _wakeups) = first.block_on(async {
        let store = options.connect(&url).await.unwrap();
        let wakeups = subscribed(&store, "job").await;
        (store, wakeups)
    });
    drop(first);
    // Outside a runtime, the subscription waits and does not panic.
    let mut outside = store.subscribe(&name("job"));
    runtime().block_on(async {
        let mut wakeups = store.subscribe(&name("job"));
        assert!(is_hinted_within(&mut wakeups, SOON).await);
        assert!(is_hinted_within(&mut outside, SOON).await);
        // Commands work on the new runtime as well.
        let request = request("job", "a");
        let grant = granted(&store, &request).await;
        release(&store, &claim(&request, grant)).await;
        assert!(is_hinted_within(&mut wakeups, SOON).await);
    });
    drop((store, outside));
}
