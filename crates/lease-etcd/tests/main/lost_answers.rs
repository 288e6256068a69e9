//! Requests that were executed, and whose answers never arrived.

use std::time::Duration;

use integration_tests::{Etcd, Proxy};
use lease_core::{Acquired, ErrorKind, LeaseStore, Released};

use crate::common::*;

/// An unknown outcome is returned as such, and only the caller repeats the request. A hidden second attempt would report a
/// release that was executed as not executed.
#[tokio::test]
async fn an_unknown_outcome_is_returned_as_such() {
    let etcd = Etcd::shared().await;
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let store = connect_in_order(&options(), &[etcd.url_through(&network), etcd.url().to_owned()]).await;
    let (claim, _) = granted(&store, &request("job", LONG)).await;
    network.drop_answers();
    let breaks = async {
        pass(Duration::from_millis(300)).await;
        network.reset_connections();
    };
    let releases = async { only(store.release(&[plain_release(&claim)]).await) };
    let (released, ()) = tokio::join!(releases, breaks);
    assert_eq!(released.unwrap_err().kind(), ErrorKind::Indeterminate);
    assert_eq!(release(&store, &claim).await, Released::NotHeld);
    assert!(is_free(&store, "job").await);
}

/// A repeated request with the same nonce returns its own grant, on any connection (S13).
#[tokio::test]
async fn s13_an_acquire_whose_answer_was_lost_is_found_again() {
    let etcd = Etcd::shared().await;
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let store = connect_in_order(&options(), &[etcd.url_through(&network), etcd.url().to_owned()]).await;
    // Creates the bucket, so that only the answer of the grant can be lost.
    granted(&store, &request("other", LONG)).await;
    let wish = request("job", LONG);
    network.drop_answers();
    let breaks = async {
        pass(Duration::from_millis(300)).await;
        network.reset_connections();
    };
    let (acquired, ()) = tokio::join!(acquire(&store, &wish), breaks);
    assert_eq!(acquired.unwrap_err().kind(), ErrorKind::Indeterminate);
    let (claim, grant) = granted(&store, &wish).await;
    assert!(grant.remaining > LONG.mul_f64(0.85), "{:?}", grant.remaining);
    assert!(matches!(acquire(&store, &request("job", LONG)).await, Ok(Acquired::Held { by: Some(_), .. })));
    // The repeated answer has the token of the lost one, so its handle can release the grant.
    assert_eq!(release(&store, &claim).await, Released::Freed);
}
