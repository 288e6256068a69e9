//! The etcd leases behind the grants, also when they are changed from outside.

use std::{sync::Arc, time::Duration};

use integration_tests::{Direction, Etcd, Proxy};
use lease_core::{
    Acquired, Break, GrantId, LeaseClient, LeaseStore, LossReason, Metadata, MetadataUpdate, ReleaseRequest, Released,
    RenewRequest, Renewed, SystemClock,
};
use lease_testkit::{ChaosStore, Hints};

use crate::common::*;

#[tokio::test]
async fn s07_a_renewal_moves_the_key_to_a_newer_bucket_and_keeps_the_token() {
    let (store, mut driver) = (store().await, driver().await);
    let (claim, grant) = granted(&store, &request("job", SHORT)).await;
    let before = pair(&mut driver, &store, "job").await.unwrap();
    pass(SHORT / 4).await;
    extended(&store, &claim, SHORT).await;
    let after = pair(&mut driver, &store, "job").await.unwrap();
    assert!(after.lease() > before.lease(), "ids of buckets rise");
    assert_eq!(after.create_revision(), before.create_revision());
    assert_eq!(grant.token.get(), u64::try_from(after.create_revision()).unwrap());
    assert_eq!(after.value(), before.value());
}

#[tokio::test]
async fn what_is_not_renewed_dies_with_its_bucket_and_its_neighbours_do_not() {
    let store = store().await;
    let requests = [request("kept", SHORT), request("dropped", SHORT)];
    let answers = store.acquire(&requests).await;
    let Ok(Acquired::Granted(grant)) = &answers[0] else { panic!("unexpected answer: {answers:?}") };
    let kept = claim(&requests[0], *grant);
    eventually("the other one expires", async || {
        extended(&store, &kept, SHORT).await;
        store.inspect(&name("dropped")).await.unwrap().is_none().then_some(())
    })
    .await;
    for _ in 0..4 {
        pass(SHORT / 4).await;
        extended(&store, &kept, SHORT).await;
    }
    assert!(is_free(&store, "dropped").await && !is_free(&store, "kept").await);
}

#[tokio::test]
async fn a_grant_says_what_is_left_of_its_bucket() {
    let store = store().await;
    let ttl = Duration::from_secs(20);
    granted(&store, &request("first", ttl)).await;
    pass(Duration::from_secs(1)).await;
    let (_, second) = granted(&store, &request("second", ttl)).await;
    let left = second.remaining;
    assert!(left <= ttl - Duration::from_secs(1) && left >= ttl.mul_f64(0.9), "{left:?} of a bucket of {ttl:?}");
}

/// A renewal that was delayed in the network arrives after a later one. It must not move the key back: the lease would expire
/// earlier than its holder expects.
#[tokio::test]
async fn s07_a_renewal_that_arrives_late_moves_nothing_back() {
    let etcd = Etcd::shared().await;
    let slow = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let store = connect_in_order(&options(), &[etcd.url_through(&slow), etcd.url().to_owned()]).await;
    let mut driver = driver().await;
    let ttl = Duration::from_secs(4);
    let (claim, _) = granted(&store, &request("job", ttl)).await;

    pass(ttl / 8).await;
    extended(&store, &claim, ttl).await; // creates a bucket
    slow.black_hole(Direction::Requests);
    let late = tokio::spawn({
        let (store, claim) = (store.clone(), claim.clone());
        async move { renew(&store, &renewal(&claim, ttl)).await }
    });
    pass(Duration::from_millis(50)).await;
    // A call that is abandoned makes the store use the other endpoint.
    let job = name("job");
    tokio::select! {
        record = store.inspect(&job) => panic!("through a black hole: {record:?}"),
        () = pass(Duration::from_millis(100)) => {}
    }
    pass(ttl / 8).await;
    extended(&store, &claim, ttl).await;
    let newest = pair(&mut driver, &store, "job").await.unwrap().lease();
    slow.heal();
    let late = within("the late renewal is answered", PATIENCE, late).await.unwrap().unwrap();
    assert!(matches!(late, Renewed::Extended { .. }), "{late:?}");
    assert_eq!(pair(&mut driver, &store, "job").await.unwrap().lease(), newest);
}

#[tokio::test]
async fn s07_a_shorter_renewal_does_not_move_the_key() {
    let (store, mut driver) = (store().await, driver().await);
    let (claim, _) = granted(&store, &request("job", LONG)).await;
    let before = pair(&mut driver, &store, "job").await.unwrap();
    let remaining = extended(&store, &claim, SHORT).await;
    assert!(remaining > SHORT * 10, "{remaining:?}");
    assert_eq!(pair(&mut driver, &store, "job").await.unwrap().mod_revision(), before.mod_revision());
}

/// Another process, without the buckets of the first one, can renew its grant.
#[tokio::test]
async fn a_claim_can_be_renewed_by_another_process() {
    let options = options();
    let url = Etcd::shared().await.url();
    let (one, two) = (options.connect([url]).await.unwrap(), options.connect([url]).await.unwrap());
    let (claim, _) = granted(&one, &request("job", SHORT)).await;
    for _ in 0..8 {
        pass(SHORT / 4).await;
        extended(&two, &claim, SHORT).await;
        extended(&one, &claim, SHORT).await;
    }
    assert!(!is_free(&two, "job").await);
}

#[tokio::test]
async fn metadata_changes_without_moving_a_key_back() {
    let (store, mut driver) = (store().await, driver().await);
    let (claim, _) = granted(&store, &request("job", LONG)).await;
    let before = pair(&mut driver, &store, "job").await.unwrap();
    let update = MetadataUpdate::new(1, Metadata::new([("is", "new")]).unwrap());
    let renewal = RenewRequest::new(claim, SHORT).with_metadata(update.clone());
    assert!(matches!(only(store.renew(&[renewal]).await), Ok(Renewed::Extended { .. })));
    let after = pair(&mut driver, &store, "job").await.unwrap();
    assert_eq!((after.lease(), after.create_revision()), (before.lease(), before.create_revision()));
    assert_eq!(store.inspect(&name("job")).await.unwrap().unwrap().metadata, update.metadata);
}

/// When a bucket is revoked from outside, the grants on it are lost, and their holders notified. Later grants get another
/// bucket.
#[tokio::test]
async fn a_revoked_bucket_is_a_loss_and_is_replaced() {
    let (store, mut driver) = (store().await, driver().await);
    let (claim, _) = granted(&store, &request("job", LONG)).await;
    let bucket = pair(&mut driver, &store, "job").await.unwrap().lease();
    driver.lease_revoke(bucket).await.unwrap();
    assert_eq!(lost(&store, &claim, LONG).await, LossReason::Gone);
    // For the store, its newest bucket is a moment old.
    granted(&store, &request("job", LONG)).await;
    assert_ne!(pair(&mut driver, &store, "job").await.unwrap().lease(), bucket);
}

#[tokio::test]
async fn renewals_and_batches_survive_the_loss_of_the_newest_bucket() {
    let (store, mut driver) = (store().await, driver().await);
    let first: Vec<_> = (0..5).map(|number| request(&format!("first/{number}"), SHORT * 10)).collect();
    let mut claims = Vec::new();
    for (request, answer) in first.iter().zip(store.acquire(&first).await) {
        let Ok(Acquired::Granted(grant)) = answer else { panic!("unexpected answer: {answer:?}") };
        claims.push(claim(request, grant));
    }
    pass(SHORT + Duration::from_millis(100)).await;
    granted(&store, &request("newest", SHORT * 10)).await;
    let newest = pair(&mut driver, &store, "newest").await.unwrap().lease();
    driver.lease_revoke(newest).await.unwrap();
    let renewals: Vec<_> = claims.iter().map(|claim| RenewRequest::new(claim.clone(), SHORT * 10)).collect();
    for answer in store.renew(&renewals).await {
        assert!(matches!(answer, Ok(Renewed::Extended { .. })), "{answer:?}");
    }
}

/// Held keys are watched: the holder is notified of the loss at once, long before the next renewal.
#[tokio::test]
async fn s06_a_deleted_key_is_a_loss_at_once() {
    let (store, mut driver) = (store().await, driver().await);
    let client = LeaseClient::new(store.clone());
    let lease = client.try_acquire("job", LONG).await.unwrap().acquired().unwrap();
    let other = client.try_acquire("other", LONG).await.unwrap().acquired().unwrap();
    let mut hints = store.subscribe(lease.name());
    within("the watch stands", PATIENCE, hints.next()).await;
    // From then on the client receives revocations.
    pass(Duration::from_millis(1100)).await;
    driver.delete(store.key(&name("job")), None).await.unwrap();
    assert_eq!(within("the loss", PATIENCE, lease.lost()).await, LossReason::Gone);
    assert!(other.is_held());
}

/// The same holds when the etcd lease is revoked, with all its keys.
#[tokio::test]
async fn s06_a_revoked_bucket_is_the_loss_of_all_its_grants_at_once() {
    let (store, mut driver) = (store().await, driver().await);
    let client = LeaseClient::new(store.clone());
    let mut hints = store.subscribe(&name("job/0"));
    within("the watch stands", PATIENCE, hints.next()).await;
    let mut leases = Vec::new();
    for number in 0..20 {
        leases.push(client.try_acquire(format!("job/{number}"), LONG).await.unwrap().acquired().unwrap());
    }
    let bucket = pair(&mut driver, &store, "job/0").await.unwrap().lease();
    pass(Duration::from_millis(1100)).await;
    driver.lease_revoke(bucket).await.unwrap();
    for lease in leases {
        assert_eq!(within("the loss", PATIENCE, lease.lost()).await, LossReason::Gone);
    }
}

/// When the watch is interrupted, the next renewal observes the loss.
#[tokio::test]
async fn s06_a_deleted_key_is_a_loss_at_the_next_renewal() {
    let (store, mut driver) = (store().await, driver().await);
    let unwatched = ChaosStore::new(Arc::new(store.clone()), Arc::new(SystemClock), 0);
    unwatched.set_hints(Hints::Dropped);
    let client = LeaseClient::new(unwatched);
    let ttl = Duration::from_secs(6);
    let lease = client.try_acquire("job", ttl).await.unwrap().acquired().unwrap();
    let other = client.try_acquire("other", ttl).await.unwrap().acquired().unwrap();
    driver.delete(store.key(&name("job")), None).await.unwrap();
    assert_eq!(within("the loss", ttl / 2, lease.lost()).await, LossReason::Gone);
    assert!(other.is_held());
}

/// S11, S22: a block has a time of its own, and can be broken by the token of the grant before it.
#[tokio::test]
async fn a_blocked_name_can_be_freed_by_the_token_of_its_last_grant() {
    let store = store().await;
    let (_, grant) = granted(&store, &request("job", LONG)).await;
    let job = name("job");
    assert_eq!(store.break_lease(&job, grant.token, Break::AfterExpiry).await.unwrap(), Released::Freed);
    assert!(!is_free(&store, "job").await);
    assert_eq!(store.break_lease(&job, grant.token, Break::AfterExpiry).await.unwrap(), Released::NotHeld);
    let wrong = token(grant.token.get() + 1);
    assert_eq!(store.break_lease(&job, wrong, Break::Now).await.unwrap(), Released::NotHeld);
    assert_eq!(store.break_lease(&job, grant.token, Break::Now).await.unwrap(), Released::Freed);
    assert!(is_free(&store, "job").await);
}

/// The block lasts for the whole time from the release on. The newest bucket would not.
#[tokio::test]
async fn s11_what_is_held_for_a_while_has_an_etcd_lease_of_its_own() {
    let (store, mut driver) = (store().await, driver().await);
    let ttl = Duration::from_secs(30);
    let (claim, _) = granted(&store, &request("job", ttl)).await;
    let bucket = pair(&mut driver, &store, "job").await.unwrap().lease();
    only(store.release(&[ReleaseRequest::new(claim).with_hold_for(ttl)]).await).unwrap();
    let block = driver.get(format!("{} blocked", store.key(&name("job"))), None).await.unwrap();
    assert_ne!(block.kvs()[0].lease(), bucket);
}

/// A delayed duplicate of an acquire whose bucket has ended grants nothing. If the bucket has not ended, it makes a grant
/// that ends with the bucket: this is the meaning of `remembers_last_grant: false`.
#[tokio::test]
async fn s13_a_delayed_duplicate_is_a_new_grant_that_expires() {
    let store = store().await;
    let request = request("job", SHORT);
    let (claim, first) = granted(&store, &request).await;
    release(&store, &claim).await;
    let (_, second) = granted(&store, &request).await;
    assert!(second.token > first.token);
    assert_eq!(release(&store, &claim).await, Released::NotHeld, "the first one's handle opens no other grant");
    eventually("it expires", async || is_free(&store, "job").await.then_some(())).await;
    assert_ne!(request.grant, GrantId::random());
}
