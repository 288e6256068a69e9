//! Whom a write wakes.
#![allow(clippy::disallowed_methods, reason = "the clock of the test is that of its paused runtime")]

use std::{sync::Arc, time::Duration};

use lease_core::{LeaseClient, LeaseStore, TokioClock, Wakeups};
use lease_document::Change;
use lease_testkit::calls::{claim, granted, name, release};

use crate::common::{Bed, Variant, request, store};

const TTL: Duration = Duration::from_secs(10);

async fn is_hinted(hints: &mut Wakeups) -> bool {
    tokio::time::timeout(Duration::from_millis(1), hints.next()).await.is_ok()
}

/// A feed may be late, as one that brings all documents each time: the waiters of the process that releases do not wait for it, and
/// what it tells them later is no news.
#[tokio::test(start_paused = true)]
async fn l01_a_release_wakes_the_own_waiters_before_the_feed_tells_of_it() {
    let bed = Bed::new(TokioClock::new());
    let with_push = Variant { push: true, ..Variant::default() };
    let (own, other) = (store(&bed, &with_push), store(&bed, &with_push));
    let mine = request("job", "a", TTL);
    let held = claim(&mine, granted(&own, &mine).await);
    let (mut of_own, mut of_other) = (own.subscribe(&name("job")), other.subscribe(&name("job")));
    for hints in [&mut of_own, &mut of_other] {
        while is_hinted(hints).await {}
    }
    bed.state().is_silent = true;
    release(&own, &held).await;
    assert!(is_hinted(&mut of_own).await);
    assert!(!is_hinted(&mut of_other).await);
    let released = bed.state().documents[&name("job")].value.clone();
    bed.changes.notify(&name("job"), Change::Written(&released));
    assert!(!is_hinted(&mut of_own).await, "it has heard of it");
    assert!(is_hinted(&mut of_other).await);
}

/// What the feed tells late of the grant before is no news, and no reason to ask whether the lease is still held.
#[tokio::test(start_paused = true)]
async fn l02_a_late_feed_disturbs_no_later_grant() {
    let bed = Bed::new(TokioClock::new());
    let own = store(&bed, &Variant { push: true, ..Variant::default() });
    let client = LeaseClient::builder(own.clone()).clock(Arc::clone(&bed.clock)).build();
    let mut hints = own.subscribe(&name("job"));
    bed.state().is_silent = true;
    client.acquire("job", TTL).await.unwrap().release().await.unwrap();
    let released = bed.state().documents[&name("job")].value.clone();
    let lease = client.acquire("job", TTL).await.unwrap();
    while is_hinted(&mut hints).await {}
    let requests = bed.state().requests.len();
    bed.changes.notify(&name("job"), Change::Written(&released));
    assert!(!is_hinted(&mut hints).await);
    assert_eq!(bed.state().requests.len(), requests);
    assert!(lease.is_held());
}
