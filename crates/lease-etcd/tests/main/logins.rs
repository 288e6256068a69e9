//! Connecting and logging in: once for all callers that wait for it, and to the end.

use std::{collections::BTreeSet, time::Duration};

use etcd_client::{Client, ConnectOptions};
use futures::future::join_all;
use integration_tests::{Certificates, Direction, Etcd, Proxy};
use lease_core::{Clock, LeaseStore, SystemClock};
use lease_etcd::EtcdStore;

use crate::common::*;

/// Reads a name, and gives up after this time. Returns whether there was an answer.
async fn read(store: &EtcdStore, limit: Duration) -> bool {
    let job = name("job");
    tokio::select! {
        answer = store.inspect(&job) => answer.is_ok(),
        () = pass(limit) => false,
    }
}

/// S24: a login outlives the connection on which it was made, so that a reset of all connections does not cause a login per
/// call.
#[tokio::test]
async fn s24_a_broken_connection_costs_no_login() {
    let (etcd, options) = guarded().await;
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let store = options.with_user("app", PASSWORD).connect([etcd.url_through(&network)]).await.unwrap();
    let before = logins(&etcd).await;
    for _ in 0..3 {
        network.reset_connections();
        let looks = join_all((0..20).map(|_| read(&store, PATIENCE))).await;
        assert!(looks.into_iter().all(|is_answered| is_answered));
        assert_eq!(network.connections(), 1, "all calls share one connection");
    }
    assert_eq!(logins(&etcd).await, before);
}

/// When a server has dropped its tokens, the store logs in once, however many calls there are.
#[tokio::test]
async fn s24_calls_that_are_refused_together_log_in_once() {
    let (etcd, options) = guarded().await;
    let store = options.with_user("app", PASSWORD).connect([etcd.url()]).await.unwrap();
    // The token is not used meanwhile.
    pass(Duration::from_millis(4500)).await;
    let before = logins(&etcd).await;
    let looks = join_all((0..20).map(|_| read(&store, PATIENCE))).await;
    assert!(looks.into_iter().all(|is_answered| is_answered));
    assert_eq!(logins(&etcd).await, before + 1);
}

/// Makes calls that give up after this time, until one of them is answered.
async fn until_a_read_is_answered(store: &EtcdStore, limit: Duration) {
    eventually("an answer to a call that waits for less than connecting takes", async || {
        let is_answered = read(store, limit).await;
        pass(Duration::from_secs(1)).await;
        is_answered.then_some(())
    })
    .await;
}

/// S24: a login that takes longer than any call waits for it is finished and used, and not repeated.
#[tokio::test]
async fn s24_a_login_that_was_begun_is_finished_and_used() {
    // The server computes for half a second per login.
    let (etcd, options) = guarded_by(&[("auth-token-ttl", "2"), ("bcrypt-cost", "13")]).await;
    let store = options.with_user("app", PASSWORD).connect([etcd.url()]).await.unwrap();
    // The token is not used meanwhile.
    pass(Duration::from_millis(4500)).await;
    let before = logins(&etcd).await;
    until_a_read_is_answered(&store, Duration::from_millis(250)).await;
    assert_eq!(logins(&etcd).await, before + 1);
}

/// The same holds for a connection that was begun. Otherwise a slow handshake would never be completed.
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
    // A handshake and a call take two round trips.
    until_a_read_is_answered(&store, Duration::from_millis(550)).await;
}

async fn driver_of(etcd: &Etcd) -> Client {
    Client::connect([etcd.url()], None).await.unwrap()
}

/// An operator switches authentication off, and on again.
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
    // A new store is not asked for a login now.
    let newcomer = options.connect([etcd.url()]).await.unwrap();
    assert!(!is_free(&newcomer, "job").await);
    driver_of(&etcd).await.auth_client().auth_enable().await.unwrap();
    extended(&store, &claim, LONG).await;
    assert!(!is_free(&newcomer, "job").await);
    let denied = options.with_user("app", "wrong").connect([etcd.url()]).await.unwrap_err();
    assert_eq!(denied.kind(), lease_core::ErrorKind::Denied);
}

/// Stores with the same list do not all begin at its first endpoint.
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

/// S24: a login that is refused is not repeated for each call, and all calls return its error.
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
        assert!(!read(&store, Duration::from_millis(20)).await);
    }
    let tried = logins(&etcd).await - before;
    assert!(tried <= 8, "{tried} logins in two seconds");
    root.auth_client().user_change_password("app", PASSWORD).await.unwrap();
    eventually("a login with the password of before", async || store.inspect(&name("job")).await.ok()).await;
}

/// L7: callers that give up early, and so leave connections all the time, do not hold up callers that wait longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l07_callers_that_give_up_do_not_hold_up_others() {
    let etcd = Etcd::shared().await;
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let store = options().connect([etcd.url_through(&network)]).await.unwrap();
    network.delay(Direction::Answers, Duration::from_millis(3));
    let end = SystemClock.now() + Duration::from_secs(5);
    let impatient = |number: u64| {
        let store = store.clone();
        tokio::spawn(async move {
            while SystemClock.now() < end {
                read(&store, Duration::from_millis(1 + number)).await;
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
