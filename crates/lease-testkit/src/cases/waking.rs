//! Hints (S20, L1). Clients of a store without push poll instead, and such a store must never hint.

use std::{sync::Arc, time::Duration};

use lease_core::{Break, LeaseStore, Wakeups};

use crate::{
    bench::Bench,
    calls::{acquired, claim, granted, name, only, plain_release, release},
};

/// The first hint comes as soon as the subscription is established, because earlier changes may have been missed.
pub async fn s20_the_first_hint_comes_with_the_subscription(bench: &Bench) {
    let store = bench.store().await;
    let mut wakeups = store.subscribe(&name("job"));
    expect_hint(bench, &store, "the established subscription", &mut wakeups).await;
}

/// A release sends a hint to all subscribers, in other processes too.
pub async fn l01_a_release_is_hinted(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let mut request = bench.request(&name("job"));
    request.ttl = bench.ttl * 30;
    let claim = claim(&request, granted(&*store, &request).await);
    let mut subscriptions = [quiet(bench, &store).await, quiet(bench, &other).await, quiet(bench, &other).await];
    release(&*store, &claim).await;
    for wakeups in &mut subscriptions {
        expect_hint(bench, &store, "the release", wakeups).await;
    }
}

/// A release in a batch sends a hint, as a single one does.
pub async fn l01_a_release_in_a_batch_is_hinted(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let mut releases = Vec::new();
    for job in ["a", "job", "z"] {
        let mut request = bench.request(&name(job));
        request.ttl = bench.ttl * 30;
        let claim = claim(&request, granted(&*store, &request).await);
        releases.push(plain_release(&claim));
    }
    let mut wakeups = quiet(bench, &other).await;
    store.release(&releases).await;
    expect_hint(bench, &store, "the release", &mut wakeups).await;
}

/// A hand-over sends a hint, so that the successor need not wait for its poll.
pub async fn l01_a_hand_over_is_hinted(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let mut request = bench.request(&name("job"));
    request.ttl = bench.ttl * 30;
    let successor = bench.request(&request.name);
    let claim = claim(&request, granted(&*store, &request).await);
    let mut wakeups = quiet(bench, &other).await;
    let reserved_for = Some(successor.holder.clone());
    let hand_over = plain_release(&claim).with_hold_for(bench.ttl * 20).with_reserved_for(reserved_for);
    store.release(&[hand_over]).await;
    expect_hint(bench, &store, "the hand-over", &mut wakeups).await;
    granted(&*other, &successor).await;
}

/// A break that frees the name sends a hint.
pub async fn s22_a_break_is_hinted(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let mut request = bench.request(&name("job"));
    request.ttl = bench.ttl * 30;
    let grant = granted(&*store, &request).await;
    let mut wakeups = quiet(bench, &other).await;
    store.break_lease(&request.name, grant.token, Break::Now).await.expect("break answers");
    expect_hint(bench, &store, "the break", &mut wakeups).await;
}

/// A grant with `announce` sends a hint to watches.
pub async fn an_announced_grant_is_hinted(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let mut wakeups = quiet(bench, &other).await;
    // So long that its expiry cannot cause the hint.
    let request = bench.request(&name("job")).with_ttl(bench.ttl * 30).with_announce(true);
    granted(&*store, &request).await;
    expect_hint(bench, &store, "the grant", &mut wakeups).await;
}

/// Each release sends a hint, as long as the subscription exists.
pub async fn l01_every_release_is_hinted(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let mut wakeups = quiet(bench, &other).await;
    for _ in 0..5 {
        let mut request = bench.request(&name("job"));
        request.ttl = bench.ttl * 30;
        let claim = claim(&request, granted(&*store, &request).await);
        release(&*store, &claim).await;
        expect_hint(bench, &store, "the release", &mut wakeups).await;
        drain(bench, &mut wakeups).await;
    }
}

/// Many subscriptions to many names can be made and dropped at any time without effect on the others.
pub async fn s20_subscriptions_come_and_go(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let names: Vec<_> = (0..20).map(|number| name(&format!("job/{number}"))).collect();
    for _ in 0..3 {
        drop(names.iter().map(|job| other.subscribe(job)).collect::<Vec<_>>());
    }
    let mut kept: Vec<_> = names.iter().map(|job| (other.subscribe(job), other.subscribe(job))).collect();
    for (first, _) in &mut kept {
        expect_hint(bench, &store, "the established subscription", first).await;
    }
    let kept: Vec<_> = kept.into_iter().map(|(_, second)| second).collect();
    for (job, mut wakeups) in names.iter().zip(kept) {
        drain(bench, &mut wakeups).await;
        let mut request = bench.request(job);
        request.ttl = bench.ttl * 30;
        let claim = claim(&request, granted(&*store, &request).await);
        release(&*store, &claim).await;
        expect_hint(bench, &store, "the release", &mut wakeups).await;
    }
}

/// A subscription survives a cut: it hints when it is established again, because it may have missed a release.
pub async fn s20_a_subscription_hints_again_after_a_cut(bench: &Bench) {
    let store = bench.store().await;
    let mut wakeups = quiet(bench, &store).await;
    bench.cut().await;
    bench.sleep(bench.ttl / 2).await;
    bench.heal().await;
    // Another process may not have seen the cut. No subscription that is established again misses this release.
    let mut request = bench.request(&name("job"));
    request.ttl = bench.ttl * 30;
    let limit = bench.ttl * 2 + bench.tolerance();
    let grant = bench
        .poll("the store serves again", limit, async || {
            match only(store.acquire(std::slice::from_ref(&request)).await) {
                Ok(lease_core::Acquired::Granted(grant)) => Some(grant),
                _ => None,
            }
        })
        .await;
    release(&*store, &claim(&request, grant)).await;
    expect_hint(bench, &store, "the reconnect or the release", &mut wakeups).await;
    drain(bench, &mut wakeups).await;
    let second = granted(&*store, &bench.request(&request.name)).await;
    assert!(second.token > grant.token);
    assert!(matches!(acquired(&*store, &bench.request(&request.name)).await, lease_core::Acquired::Held { .. }));
}

/// Returns an established subscription without pending hints.
async fn quiet(bench: &Bench, store: &Arc<dyn LeaseStore>) -> Wakeups {
    let mut wakeups = store.subscribe(&name("job"));
    if store.capabilities().push {
        bench.expect_soon("the subscription is established", wakeups.next()).await;
        drain(bench, &mut wakeups).await;
    }
    wakeups
}

async fn drain(bench: &Bench, wakeups: &mut Wakeups) {
    while bench.timeout(Duration::from_millis(50), wakeups.next()).await.is_some() {}
}

async fn expect_hint(bench: &Bench, store: &Arc<dyn LeaseStore>, what: &str, wakeups: &mut Wakeups) {
    if store.capabilities().push {
        bench.expect_soon(what, wakeups.next()).await;
    } else {
        let hint = bench.timeout(Duration::from_millis(50), wakeups.next()).await;
        assert_eq!(hint, None, "{what}: a hint of a store that declares no push");
    }
}
