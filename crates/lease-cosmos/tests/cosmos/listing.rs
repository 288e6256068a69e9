//! Lists of many items, and purges.

use std::time::Duration;

use integration_tests::pass;
use lease_core::LeaseStore;
use lease_testkit::calls::name;

use crate::common::{LONG, granted, proxied, request};

/// The service has no order over partitions, and ends its pages when it likes.
#[tokio::test]
async fn a_list_is_whole_and_in_order_over_many_pages() {
    let (store, proxy, _) = proxied().await;
    let mut requests: Vec<_> = (0..300).map(|number| request(&format!("job/{number:03}"), LONG)).collect();
    let names: Vec<_> = requests.iter().map(|request| request.name.clone()).collect();
    // In no order.
    requests.sort_by_key(|request| request.holder.clone());
    let granted = store.acquire(&requests).await;
    assert!(granted.iter().all(Result::is_ok), "{granted:?}");
    // The pages of the service are of 1 000 items: these are smaller.
    drop(proxy.take_requests());
    proxy.change_header("x-ms-max-item-count", "70");
    let listed: Vec<_> = store.list("job/", None, 1000).await.unwrap().into_iter().map(|it| it.name).collect();
    assert_eq!(listed, names);
    // Two pages of the store, the second of which begins behind the first; each of them a query in pages of 70.
    assert_eq!(proxy.take_requests().len(), 5 + 1);
    let listed = store.list("job/1", Some(&name("job/150")), 3).await.unwrap();
    assert_eq!(listed.into_iter().map(|it| it.name).collect::<Vec<_>>(), names[151..154]);
    assert!(store.list("other/", None, 9).await.unwrap().is_empty());
}

/// Without the last token two grants in one second could have the same: a purge keeps it.
#[tokio::test]
async fn a_purge_reduces_what_is_over_and_tokens_rise() {
    let (store, ..) = proxied().await;
    let ttl = Duration::from_secs(2);
    let (_, first) = granted(&store, &request("job", ttl)).await;
    granted(&store, &request("held", LONG)).await;
    // The end is later for others than for its holder, by what is unknown of the clock.
    pass(ttl + Duration::from_secs(5)).await;
    let purged = store.purge("", Duration::from_secs(1)).await.unwrap();
    assert_eq!((purged.deleted, purged.reduced), (0, 1));
    let (_, second) = granted(&store, &request("job", LONG)).await;
    assert!(second.token > first.token);
    assert_eq!(store.list("", None, 9).await.unwrap().len(), 2);
}
