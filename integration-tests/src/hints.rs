//! Hints about each kind of release, for stores that send one in each case by itself (L1).

use std::time::Duration;

use lease_core::{AcquireRequest, Break, LeaseStore, Wakeups};
use lease_testkit::calls::{self, claim, extended, granted, holder, name, plain_release, release};

use crate::is_hinted_within;

/// Far below the time of a poll, far above that of a hint.
const SOON: Duration = Duration::from_secs(5);
/// Long enough to notice a hint that must not be sent.
const QUIET: Duration = Duration::from_millis(150);
/// Longer than any test.
const TTL: Duration = Duration::from_secs(30);

/// Subscribes to a name, and waits until the subscription is established.
///
/// # Panics
///
/// Panics if it is not.
pub async fn subscribed(store: &dyn LeaseStore, job: &str) -> Wakeups {
    let mut wakeups = store.subscribe(&name(job));
    assert!(is_hinted_within(&mut wakeups, SOON).await, "no hint when the subscription was established");
    wakeups
}

/// Checks that every kind of release by one store hints to the subscribers of another, and that nothing else does.
///
/// # Panics
///
/// Panics if it is not so.
pub async fn every_kind_of_release_is_hinted(store: &dyn LeaseStore, other: &dyn LeaseStore) {
    let mut wakeups = subscribed(other, "job").await;
    let mut elsewhere = subscribed(other, "elsewhere").await;
    assert!(!is_hinted_within(&mut wakeups, QUIET).await);

    let one = request("job");
    let held = claim(&one, granted(store, &one).await);
    assert!(!is_hinted_within(&mut wakeups, QUIET).await, "a grant is announced only on request");
    extended(store, &held, TTL).await;
    assert!(!is_hinted_within(&mut wakeups, QUIET).await, "a renewal sends no hint");
    release(store, &held).await;
    assert!(is_hinted_within(&mut wakeups, SOON).await, "a release of one");
    release(store, &held).await;
    assert!(!is_hinted_within(&mut wakeups, QUIET).await, "a release without effect sends no hint");

    let (many, long) = (request("job"), request(&"x".repeat(255)));
    let claims = [claim(&many, granted(store, &many).await), claim(&long, granted(store, &long).await)];
    let mut long_wakeups = subscribed(other, long.name.as_str()).await;
    store.release(&claims.map(|claim| plain_release(&claim))).await;
    assert!(is_hinted_within(&mut wakeups, SOON).await, "a release of many");
    assert!(is_hinted_within(&mut long_wakeups, SOON).await, "the longest name");

    for how in [Break::AfterExpiry, Break::Now] {
        let job = format!("broken-{how:?}");
        let broken = request(&job);
        let grant = granted(store, &broken).await;
        let mut wakeups = subscribed(other, &job).await;
        store.break_lease(&broken.name, grant.token, how).await.expect("break answers");
        assert!(is_hinted_within(&mut wakeups, SOON).await, "{how:?}");
    }

    let handed = request("job");
    let held = claim(&handed, granted(store, &handed).await);
    let hand_over = plain_release(&held).with_hold_for(TTL).with_reserved_for(holder("b"));
    store.release(&[hand_over]).await;
    assert!(is_hinted_within(&mut wakeups, SOON).await, "a release with a reservation");
    assert!(!is_hinted_within(&mut elsewhere, QUIET).await, "a release of another name");
}

fn request(job: &str) -> AcquireRequest {
    calls::request(name(job), holder("a"), TTL)
}
