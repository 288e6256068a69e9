//! Bad input: values of other software, bad endpoints and bad options.

use std::time::Duration;

use etcd_client::{Client, PutOptions};
use integration_tests::{Direction, Etcd, Proxy};
use lease_core::{Acquired, Break, Clock, ErrorKind, LeaseStore, Released, Renewed, SystemClock};
use lease_etcd::{EtcdStore, EtcdStoreOptions};

use crate::common::*;

#[tokio::test]
async fn a_key_of_other_software_counts_as_held_and_can_be_broken() {
    let (store, mut driver) = (store().await, driver().await);
    for (number, value) in ["", "hello", "{}", "null", r#"{"holder":"x","grant":1}"#, "\u{0}"].into_iter().enumerate() {
        let job = format!("job/{number}");
        driver.put(store.key(&name(&job)), value, None).await.unwrap();
        let acquired = acquire(&store, &request(&job, LONG)).await.unwrap();
        assert_eq!(acquired, Acquired::Held { by: None, retry_after: None }, "{value}");
        let error = store.inspect(&name(&job)).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(&job), "{error}");
        let token = token(u64::try_from(pair(&mut driver, &store, &job).await.unwrap().create_revision()).unwrap());
        let error = store.break_lease(&name(&job), token, Break::AfterExpiry).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(store.break_lease(&name(&job), token, Break::Now).await.unwrap(), Released::Freed);
        assert!(is_free(&store, &job).await);
    }
}

#[tokio::test]
async fn keys_of_other_software_are_in_no_list() {
    let (store, mut driver) = (store().await, driver().await);
    granted(&store, &request("job", LONG)).await;
    let prefix = store.key(&name("x")).trim_end_matches('x').to_owned();
    for foreign in ["a b", "job other", "\u{e9}", "zzz", "job/ü"] {
        driver.put(format!("{prefix}{foreign}"), "hello", None).await.unwrap();
    }
    let names: Vec<_> = store.list("", None, 9).await.unwrap().into_iter().map(|record| record.name).collect();
    assert_eq!(names, [name("job")]);
}

/// A grant whose key has lost its etcd lease, by a `put` from outside, never expires. Its owner can still renew and release
/// it.
#[tokio::test]
async fn a_key_that_has_lost_its_lease_is_still_its_owners() {
    let (store, mut driver) = (store().await, driver().await);
    let wish = request("job", LONG);
    let (claim, grant) = granted(&store, &wish).await;
    driver.put(store.key(&name("job")), "", Some(PutOptions::new().with_ignore_value())).await.unwrap();
    assert!(matches!(acquire(&store, &wish).await, Ok(Acquired::Granted(again)) if again.token == grant.token));
    let error = store.break_lease(&name("job"), grant.token, Break::AfterExpiry).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(matches!(renew(&store, &renewal(&claim, LONG)).await, Ok(Renewed::Extended { .. })));
    assert_ne!(pair(&mut driver, &store, "job").await.unwrap().lease(), 0);
    assert_eq!(release(&store, &claim).await, Released::Freed);
}

#[tokio::test]
async fn a_ttl_is_whole_seconds_and_no_shorter_than_the_server_grants() {
    let store = store().await;
    let limits = store.capabilities();
    assert_eq!((limits.min_ttl, limits.ttl_granularity), (SHORT, Duration::from_secs(1)));
    for (wish, left) in [(1, 2000), (1999, 2000), (2001, 3000)] {
        let (_, grant) = granted(&store, &request(&format!("job/{wish}"), Duration::from_millis(wish))).await;
        let left = Duration::from_millis(left);
        assert!(grant.remaining <= left && grant.remaining >= left.mul_f64(0.85), "{wish}: {:?}", grant.remaining);
    }
    // A server with a longer election timeout has a larger minimum.
    let slow = Etcd::start_local(&[("election-timeout", "3000")]).await.unwrap();
    let store = options().connect([slow.url()]).await.unwrap();
    assert_eq!(store.capabilities().min_ttl, Duration::from_secs(5));
}

#[tokio::test]
async fn endpoints_that_cannot_be_are_errors_that_help_and_tell_no_secret() {
    let url = Etcd::shared().await.url().to_owned();
    let plain = EtcdStoreOptions::new();
    let cases = [
        ("none", plain.connect([""; 0]).await),
        ("no URL", plain.connect(["http://user:hunter2@["]).await),
        ("mixed", plain.connect([url.as_str(), "https://127.0.0.1:1"]).await),
        ("certificates for http", plain.clone().with_ca_certificate("hunter2").connect([url.as_str()]).await),
        ("no certificate", plain.clone().with_ca_certificate("hunter2").connect(["127.0.0.1:1"]).await),
        ("no prefix", plain.clone().with_key_prefix("").connect([url.as_str()]).await),
        ("a prefix with blanks", plain.clone().with_key_prefix("leases announced/").connect([url.as_str()]).await),
        ("no time for requests", plain.clone().with_request_timeout(Duration::ZERO).connect([url.as_str()]).await),
        ("no time to connect", plain.clone().with_connect_timeout(Duration::ZERO).connect([url.as_str()]).await),
        ("no user", plain.clone().with_user("", "hunter2").connect([url.as_str()]).await),
        ("a password", plain.connect([url.replace("http://", "http://root:hunter2@")]).await),
        ("a path", plain.connect([format!("{url}/path")]).await),
        ("another scheme", plain.connect([url.replace("http://", "ftp://")]).await),
    ];
    for (case, outcome) in cases {
        let error = outcome.expect_err(case);
        println!("{case}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{case}: {error:?}");
        assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Unavailable), "{case}: {error}");
        assert!(case == "no certificate" || error.kind() == ErrorKind::Invalid, "{case}: {error}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_unavailable_soon() {
    let etcd = Etcd::shared().await;
    let silent = Proxy::start(etcd.address().unwrap()).await.unwrap();
    silent.black_hole(Direction::Both);
    let options = options().with_request_timeout(Duration::from_secs(1));
    for url in ["http://127.0.0.1:1".to_owned(), etcd.url_through(&silent)] {
        let began = SystemClock.now();
        let error = options.connect([url.as_str()]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(SystemClock.now().saturating_since(began) < Duration::from_secs(3));
        // One endpoint that answers is enough.
        within("the other endpoint", PATIENCE, EtcdStoreOptions::new().connect([url.as_str(), etcd.url()]))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_application_may_bring_its_own_client() {
    let driver = Client::connect([Etcd::shared().await.url()], None).await.unwrap();
    let store = options().with_client(driver.clone()).await.unwrap();
    let (claim, _) = granted(&store, &request("job", LONG)).await;
    assert!(!is_free(&store, "job").await);
    extended(&store, &claim, LONG).await;
    // An abandoned call does not harm the application's connection.
    let job = name("job");
    tokio::select! {
        biased;
        () = pass(Duration::from_micros(50)) => {}
        _ = store.inspect(&job) => {}
    }
    assert_eq!(release(&store, &claim).await, Released::Freed);
    assert_eq!(store.endpoint(), None);
    drop(EtcdStore::with_client(driver.clone()).await.unwrap());
    let no_prefix = EtcdStoreOptions::new().with_key_prefix(" ").with_client(driver).await.unwrap_err();
    assert_eq!(no_prefix.kind(), ErrorKind::Invalid);
}
