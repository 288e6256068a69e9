//! Connecting: what is refused, in words that help, and what is found out.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use integration_tests::{Direction, HttpProxy, ObjectStorage, Proxy, SeenRequest, StubAnswer, within};
use lease_core::{ErrorKind, ExpiryJudge, LeaseStore};
use lease_object_store::{ObjectLeaseStore, ObjectLeaseStoreOptions};
use lease_testkit::{
    LogCapture,
    calls::{granted, name},
};
use tracing::Level;

use crate::common::{Amazon, Azure, Google, LONG, Place, SECRET, Service, assert_error, request};

async fn refusal(options: ObjectLeaseStoreOptions, url: &str) -> lease_core::Error {
    options.connect(url).await.expect_err(url)
}

async fn what_cannot_be_is_refused<S: Service>() {
    let place = Place::<S>::new().await;
    let (options, url) = (place.options(), Place::<S>::url());
    let missing = refusal(options.clone(), &url.replace("bucket", "missing")).await;
    assert_error(&missing, ErrorKind::Invalid, "does not exist: create it");
    let unknown = refusal(options.clone().with_option("hunter", "hunter2"), &url).await;
    assert_error(&unknown, ErrorKind::Invalid, "no option \"hunter\"");
    let malformed = refusal(options.clone().with_option("timeout", "hunter2"), &url).await;
    assert_error(&malformed, ErrorKind::Invalid, "malformed");
    let escaping = refusal(options.clone(), &format!("{url}/%2e%2e%2f")).await;
    assert_error(&escaping, ErrorKind::Invalid, "prefix");
    let nothing_listens = refusal(S::options("http://127.0.0.1:1"), &url).await;
    assert_error(&nothing_listens, ErrorKind::Unavailable, "cannot be reached");
    let (denied, requests) = place
        .counted(async {
            place.server.fail_next(2, 403).await.unwrap();
            refusal(options.clone(), &url).await
        })
        .await;
    assert_error(&denied, ErrorKind::Denied, "check the credentials");
    assert_eq!(requests, 2, "the probe is read, and one write is refused");

    place.server.ignore_conditions(true).await.unwrap();
    assert_error(&refusal(options.clone(), &url).await, ErrorKind::Unsupported, "created an object twice");
    place.server.ignore_conditions(false).await.unwrap();
    let store = options.connect(&url).await.unwrap();
    assert!(!format!("{store:?} {options:?}").contains(SECRET));
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_all_services() {
    what_cannot_be_is_refused::<Amazon>().await;
    what_cannot_be_is_refused::<Azure>().await;
    what_cannot_be_is_refused::<Google>().await;
}

/// Whether a request is the check that a stale version is not replaced.
fn replaces_a_version(seen: &SeenRequest) -> bool {
    ["if-match", "x-goog-if-generation-match"]
        .iter()
        .any(|name| seen.headers.get(*name).is_some_and(|value| value != "0"))
}

/// The check of stale versions fails once. What the service compares is known, and not found out by that.
async fn a_check_that_fails_refuses_the_store<S: Service>() {
    let place = Place::<S>::new().await;
    let proxy = HttpProxy::start(place.server.address().unwrap()).await.unwrap();
    let failures = AtomicU32::new(1);
    proxy.answer(move |seen| {
        let fails =
            replaces_a_version(seen) && failures.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        fails.then(|| StubAnswer::new(503, ""))
    });
    let options = S::options(&proxy.url());
    assert!(refusal(options.clone(), &Place::<S>::url()).await.is_transient());
    let store = options.connect(&Place::<S>::url()).await.unwrap();
    granted(&store, &request(&name("job"), "a", LONG)).await;
}

#[tokio::test]
async fn a_check_that_fails_refuses_the_store_on_all_services() {
    a_check_that_fails_refuses_the_store::<Amazon>().await;
    a_check_that_fails_refuses_the_store::<Azure>().await;
    a_check_that_fails_refuses_the_store::<Google>().await;
}

/// Some services keep `If-None-Match` and know no `If-Match`: a create has one winner there, and a take-over has several.
async fn a_service_that_replaces_any_version_is_refused<S: Service>() {
    let place = Place::<S>::new().await;
    let proxy = HttpProxy::start(place.server.address().unwrap()).await.unwrap();
    proxy.answer(|seen| {
        let written = || StubAnswer::new(200, "").with_header("etag", "\"1\"").with_header("x-goog-generation", "2");
        replaces_a_version(seen).then(written)
    });
    let error = refusal(S::options(&proxy.url()), &Place::<S>::url()).await;
    assert_error(&error, ErrorKind::Unsupported, "replaced an object whose version was another one");
}

#[tokio::test]
async fn a_service_that_replaces_any_version_is_refused_of_all_services() {
    a_service_that_replaces_any_version_is_refused::<Amazon>().await;
    a_service_that_replaces_any_version_is_refused::<Azure>().await;
    a_service_that_replaces_any_version_is_refused::<Google>().await;
}

#[tokio::test]
async fn wrong_credentials_are_denied() {
    let place = Place::<Amazon>::new().await;
    let options = place.options().with_option("access_key_id", "stranger-hunter2");
    assert_error(&refusal(options, &Place::<Amazon>::url()).await, ErrorKind::Denied, "s3:ListBucket");
}

/// The probe is there, and a service that ignores conditions writes it once more.
#[tokio::test]
async fn a_service_that_ignores_conditions_is_refused_where_the_probe_is_there() {
    let place = Place::<Amazon>::new().await;
    let store = place.store().await;
    place.server.ignore_conditions(true).await.unwrap();
    let error = refusal(place.options(), &Place::<Amazon>::url()).await;
    assert_error(&error, ErrorKind::Unsupported, "every contender would hold every lease");
    drop(store);
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_unavailable() {
    let place = Place::<Amazon>::new().await;
    let network = Proxy::start(place.server.address().unwrap()).await.unwrap();
    network.black_hole(Direction::Both);
    let options = Amazon::options(&place.server.url_through(&network));
    let url = Place::<Amazon>::url();
    let error = within("connecting", Duration::from_secs(25), refusal(options, &url)).await;
    assert_error(&error, ErrorKind::Unavailable, "did not answer within");
}

#[tokio::test]
async fn a_bucket_that_keeps_old_versions_is_warned_of_once() {
    let place = Place::<Amazon>::new().await;
    place.store().await;
    let warnings = LogCapture::new(Level::WARN);
    let _guard = tracing::subscriber::set_default(warnings.clone());
    place.store().await;
    assert_eq!(warnings.lines(), [""; 0]);
    place.server.version_objects(true).await.unwrap();
    let store = place.store().await;
    let lines = warnings.lines_containing("lifecycle rule");
    assert!(lines.len() == 1 && lines[0].contains("noncurrent"), "{lines:?}");
    assert_eq!(store.inspect(&name("job")).await.unwrap(), None);
    assert_eq!(warnings.lines().len(), 1);
}

#[tokio::test]
async fn who_judges_and_the_limits_are_declared() {
    let (amazon, google) = (Place::<Amazon>::new().await, Place::<Google>::new().await);
    let plain = Amazon::options(amazon.server.url()).connect(&Place::<Amazon>::url()).await.unwrap();
    let capabilities = plain.capabilities();
    let slack = Duration::from_secs(2);
    assert_eq!(capabilities.expiry_judge, ExpiryJudge::ServersWallClocks { slack });
    assert_eq!((capabilities.store, capabilities.poll_interval), ("s3", Duration::from_secs(5)));
    assert_eq!(google.store().await.capabilities().min_ttl, Duration::from_secs(5));
    let contenders = amazon.options().with_expiry_judge(ExpiryJudge::Contenders);
    let contenders = contenders.connect(&Place::<Amazon>::url()).await.unwrap();
    assert_eq!(contenders.capabilities().expiry_judge, ExpiryJudge::Contenders);
}

/// The prefix of the options serves where the URL has none.
#[tokio::test]
async fn a_prefix_is_of_the_url_or_of_the_options() {
    let place = Place::<Amazon>::new().await;
    let key = async |options: ObjectLeaseStoreOptions, url: &str| -> String {
        let store: ObjectLeaseStore = options.connect(url).await.unwrap();
        store.key(&name("job"))
    };
    assert_eq!(key(place.options(), "s3://bucket").await, "app-runtime-leases/job");
    assert_eq!(key(place.options().with_prefix("a/b"), "s3://bucket/").await, "a/b/job");
    assert_eq!(key(place.options().with_prefix("a/b"), "s3://bucket/c").await, "c/job");
    assert_eq!(ObjectStorage::ACCESS_KEY, "lease-tests");
}
