//! Hints by `SUBSCRIBE`: when they come, and that they come again after harm.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::{
    TTL, another, claim, eventually, granted, is_hinted_within, key, name, options, plain_release, redis, release,
    renew, renewal, request, store,
};
use integration_tests::{Direction, Proxy, Redis, RedisCluster, Reply};
use lease_core::{Break, Clock, LeaseClient, LeaseOptions, LeaseStore, SystemClock, Wakeups};
use lease_redis::RedisStore;

/// Far below what a poll takes, far above what a hint takes.
const SOON: Duration = Duration::from_secs(5);
/// Long enough for a hint that should not come.
const QUIET: Duration = Duration::from_millis(150);

async fn subscribed(store: &RedisStore, name_text: &str) -> Wakeups {
    let mut wakeups = store.subscribe(&name(name_text));
    assert!(is_hinted_within(&mut wakeups, SOON).await, "no hint when the subscription stood");
    wakeups
}

/// How many connections are subscribed to the channel of a name.
async fn subscribers(store: &RedisStore, name_text: &str) -> Reply {
    match redis(&["PUBSUB", "NUMSUB", &key(store, name_text)]).await {
        Reply::Many(counts) => counts[1].clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn l1_a_release_is_hinted_to_other_processes_in_every_form() {
    let store = store().await;
    let other = another(&store).await;
    let mut wakeups = subscribed(&other, "job").await;
    let mut elsewhere = subscribed(&other, "elsewhere").await;
    assert!(!is_hinted_within(&mut wakeups, QUIET).await);

    let one = request("job", "a");
    let grant = granted(&store, &one).await;
    assert!(!is_hinted_within(&mut wakeups, QUIET).await, "a grant is not announced unasked");
    renew(&store, &renewal(&claim(&one, grant), TTL)).await.unwrap();
    assert!(!is_hinted_within(&mut wakeups, QUIET).await, "a renewal is no news");
    release(&store, &claim(&one, grant)).await;
    assert!(is_hinted_within(&mut wakeups, SOON).await, "one");
    release(&store, &claim(&one, grant)).await;
    assert!(!is_hinted_within(&mut wakeups, QUIET).await, "nothing was freed");

    let (many, long) = (request("job", "a"), request(&"x".repeat(255), "a"));
    let claims = [claim(&many, granted(&store, &many).await), claim(&long, granted(&store, &long).await)];
    let mut long_wakeups = subscribed(&other, long.name.as_str()).await;
    store.release(&claims.map(|claim| plain_release(&claim))).await;
    assert!(is_hinted_within(&mut wakeups, SOON).await, "many");
    assert!(is_hinted_within(&mut long_wakeups, SOON).await, "the longest name");

    for how in [Break::AfterExpiry, Break::Now] {
        let name_text = format!("broken-{how:?}");
        let broken = request(&name_text, "a");
        let grant = granted(&store, &broken).await;
        let mut wakeups = subscribed(&other, &name_text).await;
        store.break_lease(&broken.name, grant.token, how).await.unwrap();
        assert!(is_hinted_within(&mut wakeups, SOON).await, "{how:?}");
    }

    let handed = request("job", "a");
    let grant = granted(&store, &handed).await;
    let hold = plain_release(&claim(&handed, grant)).with_hold_for(TTL).with_reserved_for(common::holder("b"));
    store.release(&[hold]).await;
    assert!(is_hinted_within(&mut wakeups, SOON).await, "a hand-over");
    assert!(!is_hinted_within(&mut elsewhere, QUIET).await, "another name");
}

/// By push: a poll would take a second and more. Fails when the message is missing.
#[tokio::test]
async fn l1_a_hand_over_between_two_clients_takes_no_poll() {
    let store = store().await;
    let (holder, waiter) = (LeaseClient::new(store.clone()), LeaseClient::new(another(&store).await));
    let mut longest = Duration::ZERO;
    for _ in 0..5 {
        let lease = holder.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
        let waiting = waiter.acquire("job", LeaseOptions::new(TTL));
        let releasing = async {
            // The waiter has tried, has lost, and sleeps.
            common::pass(Duration::from_millis(200)).await;
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
async fn a_grant_is_announced_when_it_asks_for_that() {
    let store = store().await;
    let mut wakeups = subscribed(&store, "job").await;
    let one = request("job", "a").with_announce(true);
    let grant = granted(&store, &one).await;
    assert!(is_hinted_within(&mut wakeups, SOON).await, "one");
    // The same attempt again grants nothing new.
    granted(&store, &one).await;
    assert!(!is_hinted_within(&mut wakeups, QUIET).await);
    release(&store, &claim(&one, grant)).await;

    let (mut hears, mut hears_not) = (subscribed(&store, "loud").await, subscribed(&store, "quiet").await);
    store.acquire(&[request("loud", "a").with_announce(true), request("quiet", "a")]).await;
    assert!(is_hinted_within(&mut hears, SOON).await, "many");
    assert!(!is_hinted_within(&mut hears_not, QUIET).await, "many");
}

#[tokio::test]
async fn one_connection_serves_all_and_ends_with_the_store() {
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

/// The server need not tell what nobody waits for.
#[tokio::test]
async fn a_channel_is_left_when_nobody_waits_any_more() {
    let store = store().await;
    let gone = subscribed(&store, "gone").await;
    let _stays = subscribed(&store, "stays").await;
    drop(gone);
    eventually("the channel is left", async || subscribers(&store, "gone").await == Reply::Integer(0)).await;
    assert_eq!(subscribers(&store, "stays").await, Reply::Integer(1));
    subscribed(&store, "gone").await;
}

#[tokio::test]
async fn turned_off_there_is_no_connection() {
    let store = options().with_notifications(false).connect(Redis::shared().await.url()).await.unwrap();
    assert!(!store.capabilities().push);
    let mut never = store.subscribe(&name("job"));
    assert!(!is_hinted_within(&mut never, QUIET).await);
    assert_eq!(subscribers(&store, "job").await, Reply::Integer(0));
}

#[tokio::test]
async fn s20_what_was_missed_is_made_up_for_after_a_reconnect() {
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
    // Who comes now must wait for the connection, too.
    let mut late = store.subscribe(&name("late"));
    assert!(!is_hinted_within(&mut late, QUIET).await);
    proxy.heal();
    assert!(is_hinted_within(&mut wakeups, SOON).await, "after the cut");
    assert!(is_hinted_within(&mut late, SOON).await, "who came during the cut");
    for wakeups in [&mut wakeups, &mut late] {
        while is_hinted_within(wakeups, QUIET).await {}
    }
    let held = request("job", "a");
    let grant = granted(&other, &held).await;
    release(&other, &claim(&held, grant)).await;
    assert!(is_hinted_within(&mut wakeups, SOON).await, "it is subscribed again");

    server.kill().await.unwrap();
    assert!(!is_hinted_within(&mut wakeups, QUIET).await);
    server.start_again().await.unwrap();
    assert!(is_hinted_within(&mut wakeups, SOON).await, "after the crash");
    let _ = server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap();
    assert!(is_hinted_within(&mut wakeups, SOON).await, "after an administrator's kill");
}

#[tokio::test]
async fn s20_a_connection_that_died_without_a_sign_is_noticed() {
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
        () = common::pass(Duration::from_secs(30)) => panic!("no hint after the network was there again"),
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
fn it_survives_the_runtime_of_the_first_subscription() {
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
    // Outside a runtime: nothing happens, and nothing panics.
    let mut outside = store.subscribe(&name("job"));
    runtime().block_on(async {
        let mut wakeups = store.subscribe(&name("job"));
        assert!(is_hinted_within(&mut wakeups, SOON).await);
        assert!(is_hinted_within(&mut outside, SOON).await);
        // So do its commands.
        let request = request("job", "a");
        let grant = granted(&store, &request).await;
        release(&store, &claim(&request, grant)).await;
        assert!(is_hinted_within(&mut wakeups, SOON).await);
    });
    drop((store, outside));
}
