//! Connecting and logging in: once for all who wait for it, and to its end.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{collections::BTreeSet, time::Duration};

use common::*;
use etcd_client::{Client, ConnectOptions};
use futures::future::join_all;
use integration_tests::{Certificates, Direction, Etcd, Proxy};
use lease_core::{Clock, LeaseStore, SystemClock};
use lease_etcd::EtcdStore;

/// Looks, and gives up after this time. Returns whether there was an answer.
async fn look(store: &EtcdStore, patience: Duration) -> bool {
    let job = name("job");
    tokio::select! {
        answer = store.inspect(&job) => answer.is_ok(),
        () = pass(patience) => false,
    }
}

/// S24: a login outlives the connection that it was made on, so that a reset of all connections is not a login for each call.
#[tokio::test]
async fn s24_a_broken_connection_costs_no_login() {
    let (etcd, options) = guarded().await;
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let store = options.with_user("app", PASSWORD).connect([etcd.url_through(&network)]).await.unwrap();
    let before = logins(&etcd).await;
    for _ in 0..3 {
        network.reset_connections();
        let looks = join_all((0..20).map(|_| look(&store, PATIENCE))).await;
        assert!(looks.into_iter().all(|is_answered| is_answered));
        assert_eq!(network.connections(), 1, "all calls share one connection");
    }
    assert_eq!(logins(&etcd).await, before);
}

/// A server that has forgotten the tokens is asked for one new one, however many calls there are.
#[tokio::test]
async fn s24_calls_that_are_refused_together_log_in_once() {
    let (etcd, options) = guarded().await;
    let store = options.with_user("app", PASSWORD).connect([etcd.url()]).await.unwrap();
    // Nobody uses the token meanwhile.
    pass(Duration::from_millis(4500)).await;
    let before = logins(&etcd).await;
    let looks = join_all((0..20).map(|_| look(&store, PATIENCE))).await;
    assert!(looks.into_iter().all(|is_answered| is_answered));
    assert_eq!(logins(&etcd).await, before + 1);
}

/// A call that gives up, now and then; whether one has had an answer.
async fn some_look_is_answered(store: &EtcdStore, patience: Duration) {
    eventually("an answer to a call that waits for less than connecting takes", async || {
        let is_answered = look(store, patience).await;
        pass(Duration::from_secs(1)).await;
        is_answered.then_some(())
    })
    .await;
}

/// S24: a login takes longer than any call waits for it. It is finished and used all the same, and not made again and again.
#[tokio::test]
async fn s24_a_login_that_was_begun_is_finished_and_used() {
    // The server computes for half a second.
    let (etcd, options) = guarded_by(&[("auth-token-ttl", "2"), ("bcrypt-cost", "13")]).await;
    let store = options.with_user("app", PASSWORD).connect([etcd.url()]).await.unwrap();
    // Nobody uses the token meanwhile.
    pass(Duration::from_millis(4500)).await;
    let before = logins(&etcd).await;
    some_look_is_answered(&store, Duration::from_millis(250)).await;
    assert_eq!(logins(&etcd).await, before + 1);
}

/// A connection that was begun, too: else a slow handshake never ends.
#[tokio::test]
async fn s24_a_connection_that_was_begun_is_finished_and_used() {
    let certificates = Certificates::make(&["etcd.test"]).unwrap();
    let (certificate, key) = (certificates.server_file(), certificates.server_key_file());
    let settings = [("cert-file", certificate.to_str().unwrap()), ("key-file", key.to_str().unwrap())];
    let etcd = Etcd::start_local(&settings).await.unwrap();
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let options = options().with_ca_certificate(certificates.authority()).with_server_name("etcd.test");
    let store = options.connect([network.address().to_string()]).await.unwrap();
    network.reset_connections();
    network.delay(Direction::Answers, Duration::from_millis(300));
    // A handshake and a call are two round trips.
    some_look_is_answered(&store, Duration::from_millis(550)).await;
}

async fn driver_of(etcd: &Etcd) -> Client {
    Client::connect([etcd.url()], None).await.unwrap()
}

/// An operator may switch authentication off, and on again.
#[tokio::test]
async fn authentication_may_be_switched_off_and_on() {
    let (etcd, options) = guarded().await;
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let options = options.with_user("app", PASSWORD);
    let store = options.connect([etcd.url_through(&network)]).await.unwrap();
    let (claim, _) = granted(&store, &request("job", LONG)).await;
    let login = ConnectOptions::new().with_user("root", PASSWORD);
    let root = Client::connect([etcd.url()], Some(login)).await.unwrap();
    root.auth_client().auth_disable().await.unwrap();
    network.reset_connections();
    store.inspect(&name("job")).await.unwrap();
    extended(&store, &claim, LONG).await;
    // Somebody who comes now is not asked who he is.
    let newcomer = options.connect([etcd.url()]).await.unwrap();
    assert!(!is_free(&newcomer, "job").await);
    driver_of(&etcd).await.auth_client().auth_enable().await.unwrap();
    extended(&store, &claim, LONG).await;
    assert!(!is_free(&newcomer, "job").await);
    let denied = options.with_user("app", "wrong").connect([etcd.url()]).await.unwrap_err();
    assert_eq!(denied.kind(), lease_core::ErrorKind::Denied);
}

/// Not everybody begins at the first endpoint of the same list.
#[tokio::test]
async fn stores_begin_at_any_of_their_endpoints() {
    let etcd = Etcd::shared().await;
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let urls = [etcd.url().to_owned(), etcd.url_through(&network)];
    let mut seen = BTreeSet::new();
    for _ in 0..64 {
        let store = options().connect(&urls).await.unwrap();
        seen.insert(store.endpoint().unwrap().to_owned());
    }
    assert_eq!(seen.len(), urls.len());
}

/// S24: a login that is refused is not made again for each call, and its reason is told to all of them.
#[tokio::test]
async fn s24_a_refused_login_is_tried_now_and_then() {
    let (etcd, options) = guarded().await;
    let store = options.with_user("app", PASSWORD).connect([etcd.url()]).await.unwrap();
    let login = ConnectOptions::new().with_user("root", PASSWORD).with_auto_token_refresh(true);
    let root = Client::connect([etcd.url()], Some(login)).await.unwrap();
    root.auth_client().user_change_password("app", "another").await.unwrap();
    let denied = store.inspect(&name("job")).await.unwrap_err();
    assert_eq!(denied.kind(), lease_core::ErrorKind::Denied, "{denied}");
    let before = logins(&etcd).await;
    let end = SystemClock.now() + Duration::from_secs(2);
    while SystemClock.now() < end {
        assert!(!look(&store, Duration::from_millis(20)).await);
    }
    let tried = logins(&etcd).await - before;
    assert!(tried <= 8, "{tried} logins in two seconds");
    root.auth_client().user_change_password("app", PASSWORD).await.unwrap();
    eventually("a login with the password of before", async || store.inspect(&name("job")).await.ok()).await;
}

/// L7: connections that are left all the time, by callers without patience, hold up nobody who has some.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l07_who_gives_up_holds_up_nobody() {
    let etcd = Etcd::shared().await;
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let store = options().connect([etcd.url_through(&network)]).await.unwrap();
    network.delay(Direction::Answers, Duration::from_millis(3));
    let end = SystemClock.now() + Duration::from_secs(5);
    let impatient = |number: u64| {
        let store = store.clone();
        tokio::spawn(async move {
            while SystemClock.now() < end {
                look(&store, Duration::from_millis(1 + number)).await;
                pass(Duration::from_millis(20 * number)).await;
            }
        })
    };
    let tasks: Vec<_> = (0..20).map(impatient).collect();
    let mut longest = Duration::ZERO;
    while SystemClock.now() < end {
        let began = SystemClock.now();
        store.inspect(&name("job")).await.unwrap();
        longest = longest.max(SystemClock.now().saturating_since(began));
    }
    join_all(tasks).await;
    println!("the longest look took {longest:?}");
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}
