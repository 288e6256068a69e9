//! The log lines for operators.

use integration_tests::{Etcd, Proxy};
use lease_core::{Break, ErrorKind, LeaseStore, Released};
use lease_testkit::LogCapture;
use tracing::Level;

use crate::common::*;

/// The log names each endpoint that is left, and the reason.
#[tokio::test]
async fn an_endpoint_that_is_left_is_named_with_the_reason() {
    let warnings = LogCapture::new(Level::WARN);
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let etcd = Etcd::shared().await;
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let url = etcd.url_through(&network);
    let store = connect_in_order(&options(), &[url.clone(), etcd.url().to_owned()]).await;
    assert_eq!(warnings.lines_containing("left"), Vec::<String>::new());
    network.refuse_connections();
    network.reset_connections();
    store.inspect(&name("job")).await.unwrap();
    assert_eq!(store.endpoint(), Some(etcd.url()));
    let left = warnings.lines_containing("left");
    assert!(left.len() == 1 && left[0].contains(&url) && left[0].contains("cannot be reached"), "{left:?}");
}

/// When the watch has lost its server, the log says what waiters and holders miss meanwhile.
#[tokio::test]
async fn an_interrupted_watch_is_logged() {
    let warnings = LogCapture::new(Level::WARN);
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let etcd = Etcd::shared().await;
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let store = options().connect([etcd.url_through(&network)]).await.unwrap();
    let mut hints = store.subscribe(&name("job"));
    within("the watch stands", PATIENCE, hints.next()).await;
    assert_eq!(warnings.lines(), Vec::<String>::new());
    network.refuse_connections();
    network.reset_connections();
    for line in ["the etcd watch is interrupted", "etcd endpoint left: no connection"] {
        eventually(line, async || warnings.lines_containing(line).first().cloned()).await;
    }
}

/// S25: revisions never fall, unless the servers' data was lost, or an older state was restored.
#[tokio::test]
async fn s25_lost_data_is_logged() {
    let warnings = LogCapture::new(Level::WARN);
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let (etcd, empty) = (Etcd::start().await, Etcd::start().await);
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let store = options().connect([etcd.url_through(&network)]).await.unwrap();
    for _ in 0..10 {
        let (claim, _) = granted(&store, &request("job", LONG)).await;
        release(&store, &claim).await;
    }
    assert!(
        warnings.lines_containing("fallen").is_empty() && warnings.lines_containing("another etcd cluster").is_empty()
    );
    network.redirect(empty.address().unwrap());
    network.reset_connections();
    eventually("the other server answers", async || store.inspect(&name("job")).await.ok()).await;
    let logged = warnings.lines_containing("fallen").len() + warnings.lines_containing("another etcd cluster").len();
    assert_eq!(logged, 1, "{:?}", warnings.lines());
}

/// When the quota is used up, acquiring and renewing fail with an error that names it, and a new connection logs it.
/// Operations that free names still work.
#[tokio::test]
async fn a_full_database_is_named() {
    let warnings = LogCapture::new(Level::WARN);
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let etcd = Etcd::start_local(&[("quota-backend-bytes", "2000000")]).await.unwrap();
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let store = options().connect([etcd.url_through(&network)]).await.unwrap();
    let (kept, _) = granted(&store, &request("kept", LONG)).await;
    let (broken, grant) = granted(&store, &request("broken", LONG)).await;
    let mut driver = etcd_client::Client::connect([etcd.url()], None).await.unwrap();
    while driver.put("full", vec![b'x'; 200_000], None).await.is_ok() {}

    network.reset_connections();
    let record = eventually("a look", async || store.inspect(&kept.name).await.ok()).await;
    assert!(record.is_some() && store.list("", None, 9).await.unwrap().len() == 2);
    assert!(warnings.lines_containing("alarms=").iter().any(|line| line.contains("NOSPACE")), "{:?}", warnings.lines());
    for refused in [
        acquire(&store, &request("other", LONG)).await.map(drop),
        renew(&store, &renewal(&kept, LONG * 2)).await.map(drop),
    ] {
        let error = refused.unwrap_err();
        assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("NOSPACE"), "{error}");
    }
    assert_eq!(release(&store, &kept).await, Released::Freed);
    assert_eq!(store.break_lease(&broken.name, grant.token, Break::Now).await.unwrap(), Released::Freed);
}
