//! Purges, which reduce records.

use std::time::Duration;

use integration_tests::{Direction, Proxy, pass};
use lease_core::{FencingToken, LeaseStore, Metadata};
use lease_testkit::calls::{claim, granted, name, refused, release};

use crate::common::{Amazon, LONG, Place, Service, request};

const SECOND: Duration = Duration::from_secs(1);

/// Grants and releases a name, and returns the token.
async fn ended(store: &dyn LeaseStore, job: &str) -> FencingToken {
    let mine = request(&name(job), "a", LONG).with_metadata(Metadata::new([("key", "value")]).unwrap());
    let grant = granted(store, &mine).await;
    release(store, &claim(&mine, grant)).await;
    grant.token
}

#[tokio::test]
async fn a_purge_reduces_what_has_ended_and_tokens_rise() {
    let place = Place::<Amazon>::new().await;
    let store = place.store().await;
    let token = ended(&store, "job/old").await;
    ended(&store, "other").await;
    granted(&store, &request(&name("job/held"), "a", LONG)).await;
    assert_eq!(store.purge("job", LONG).await.unwrap().reduced, 0, "nothing is so old");
    // The clock has whole seconds, and is known to about one.
    pass(SECOND * 3).await;
    let purged = store.purge("job", Duration::ZERO).await.unwrap();
    assert_eq!((purged.reduced, purged.deleted), (1, 0));
    assert!(!place.get(&store.key(&name("job/old"))).await.contains("value"));
    assert!(place.get(&store.key(&name("other"))).await.contains("value"));
    assert_eq!(store.purge("job", Duration::ZERO).await.unwrap().reduced, 0, "it is reduced once");
    refused(&store, &request(&name("job/held"), "b", LONG)).await;
    assert!(granted(&store, &request(&name("job/old"), "b", LONG)).await.token > token);
}

/// A grant between the purge's read and its write is kept.
#[tokio::test]
async fn a_purge_that_a_grant_has_overtaken_changes_nothing() {
    let place = Place::<Amazon>::new().await;
    let store = place.store().await;
    ended(&store, "job").await;
    let network = Proxy::start(place.server.address().unwrap()).await.unwrap();
    let slow = Amazon::options(&place.server.url_through(&network)).connect(&Place::<Amazon>::url()).await.unwrap();
    pass(SECOND * 8).await;
    network.delay(Direction::Answers, SECOND);
    let purge = tokio::spawn(async move { slow.purge("", Duration::ZERO).await });
    // The list is answered after a second, and then the object is read: its answer is on its way.
    pass(SECOND * 3 / 2).await;
    granted(&store, &request(&name("job"), "b", LONG)).await;
    assert_eq!(purge.await.unwrap().unwrap().reduced, 0);
    refused(&store, &request(&name("job"), "c", LONG)).await;
}
