//! Stores that the application brings.

use std::{sync::Arc, time::Duration};

use integration_tests::{ObjectStorage, pass};
use lease_core::{Acquired, ErrorKind, ExpiryJudge, LeaseStore};
use lease_object_store::{
    Connector, ObjectLeaseStore, ObjectLeaseStoreOptions,
    object_store::{ObjectStore, RetryConfig, aws::AmazonS3Builder, gcp::GoogleCloudStorageBuilder, memory::InMemory},
};
use lease_testkit::calls::{acquired, claim, extended, granted, name, refused, release};

use crate::common::{Amazon, Google, LONG, Place, SECRET, assert_error, request};

/// A store without a clock: contenders judge.
#[tokio::test]
async fn in_memory_contenders_judge() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let [one, two] = [
        ObjectLeaseStore::with_store(Arc::clone(&objects)).await.unwrap(),
        ObjectLeaseStore::with_store(Arc::clone(&objects)).await.unwrap(),
    ];
    assert_eq!(one.capabilities().expiry_judge, ExpiryJudge::Contenders);
    let ttl = Duration::from_secs(2);
    let (mine, theirs) = (request(&name("job/1"), "a", ttl), request(&name("job/1"), "b", ttl));
    let grant = granted(&one, &mine).await;
    extended(&one, &claim(&mine, grant), ttl).await;
    let Acquired::Held { retry_after, .. } = acquired(&two, &theirs).await else { panic!("it is held") };
    pass(retry_after.unwrap()).await;
    let taken = granted(&two, &theirs).await;
    assert!(taken.token > grant.token);
    for number in 2..6 {
        granted(&one, &request(&name(&format!("job/{number}")), "a", LONG)).await;
    }
    let mut listed = Vec::new();
    while listed.len() < 5 {
        let page = two.list("job", listed.last(), 2).await.unwrap();
        listed.extend(page.into_iter().map(|record| record.name));
    }
    assert_eq!(listed, [1, 2, 3, 4, 5].map(|number| name(&format!("job/{number}"))));
    release(&two, &claim(&theirs, taken)).await;

    let judge = ExpiryJudge::ServerWallClock;
    let refused = ObjectLeaseStoreOptions::new().with_expiry_judge(judge).with_store(objects).await.unwrap_err();
    assert_error(&refused, ErrorKind::Invalid, "`Connector`");
}

/// Our connector shows the clock, whoever builds the store.
#[tokio::test]
async fn a_store_with_the_connector_is_judged_by_its_clock() {
    let place = Place::<Amazon>::new().await;
    // Also chooses the cryptography of TLS, which the plain store below needs.
    let connected = place.store().await;
    let builder = AmazonS3Builder::new()
        .with_endpoint(place.server.url())
        .with_allow_http(true)
        .with_bucket_name("bucket")
        .with_access_key_id(ObjectStorage::ACCESS_KEY)
        .with_secret_access_key(SECRET)
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() });
    let options = ObjectLeaseStoreOptions::new().with_prefix("leases");
    let plain = options.with_store(Arc::new(builder.clone().build().unwrap())).await.unwrap();
    assert_eq!(plain.capabilities().expiry_judge, ExpiryJudge::Contenders);
    let observed = builder.with_http_connector(Connector::default()).build().unwrap();
    let observed = options.with_store(Arc::new(observed)).await.unwrap();
    assert!(matches!(observed.capabilities().expiry_judge, ExpiryJudge::ServersWallClocks { .. }));
    // All three ways exclude each other.
    let mine = request(&name("job"), "a", LONG);
    let claim = claim(&mine, granted(&observed, &mine).await);
    refused(&plain, &request(&name("job"), "b", LONG)).await;
    refused(&connected, &request(&name("job"), "b", LONG)).await;
    release(&observed, &claim).await;
    let theirs = request(&name("job"), "b", LONG);
    granted(&plain, &theirs).await;
    refused(&observed, &mine).await;
}

/// Generations are found to be what is compared.
#[tokio::test]
async fn a_store_of_google_is_recognised() {
    let place = Place::<Google>::new().await;
    place.store().await;
    let builder = GoogleCloudStorageBuilder::new()
        .with_base_url(place.server.url().trim_end_matches('/'))
        .with_bucket_name("bucket")
        .with_config("bearer_token".parse().unwrap(), SECRET)
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() });
    let store = ObjectLeaseStore::with_store(Arc::new(builder.build().unwrap())).await.unwrap();
    assert_eq!(store.capabilities().min_ttl, Duration::from_secs(5));
    let mine = request(&name("job"), "a", LONG);
    let claim = claim(&mine, granted(&store, &mine).await);
    extended(&store, &claim, LONG).await;
    release(&store, &claim).await;
}
