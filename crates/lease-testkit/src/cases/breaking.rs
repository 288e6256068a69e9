//! Breaks: an administrator ends a grant (S22).

use lease_core::{Acquired, Break, FencingToken, LossReason, Released};

use crate::{
    bench::Bench,
    calls::{acquired, claim, extended, granted, inspected, lost, name, refused, release},
};

const BOTH: [Break; 2] = [Break::AfterExpiry, Break::Now];

/// A break with another token ends no grant.
pub async fn s22_a_break_must_name_the_token(bench: &Bench) {
    let store = bench.store().await;
    let request = bench.request(&name("job"));
    let grant = granted(&*store, &request).await;
    for how in BOTH {
        for wrong in [grant.token.get() + 1, grant.token.get().saturating_sub(1).max(1)] {
            if let Some(wrong) = FencingToken::new(wrong).filter(|wrong| *wrong != grant.token) {
                let broken = store.break_lease(&request.name, wrong, how).await.expect("break answers");
                assert_eq!(broken, Released::NotHeld);
            }
        }
    }
    extended(&*store, &claim(&request, grant), bench.ttl).await;
}

/// After a break after expiry the grant cannot be renewed, and no other holder is granted before the remaining time has
/// passed.
pub async fn s22_a_break_after_expiry_keeps_exclusion(bench: &Bench) {
    let (store, operator) = (bench.store().await, bench.store().await);
    let request = bench.request(&name("job"));
    let sent = bench.now();
    let grant = granted(&*store, &request).await;
    let claim = claim(&request, grant);
    let broken = operator.break_lease(&request.name, grant.token, Break::AfterExpiry).await.expect("break answers");
    assert_eq!(broken, Released::Freed);
    refused(&*store, &bench.request(&request.name)).await;
    let reason = lost(&*store, &claim, bench.ttl).await;
    assert!(matches!(reason, LossReason::Broken | LossReason::Gone), "{reason:?}");
    let limit = bench.ttl * 2 + bench.tolerance();
    bench
        .poll("a rival acquires the name after the expiry", limit, async || {
            let acquired = acquired(&*operator, &bench.request(&request.name)).await;
            matches!(acquired, Acquired::Granted(_)).then_some(())
        })
        .await;
    let after = bench.now().saturating_since(sent);
    assert!(after >= grant.remaining.mul_f64(0.99), "taken over after {after:?}, with {:?} left", grant.remaining);
}

/// A broken grant cannot be released: its former holder does not unblock the name.
pub async fn s22_a_broken_grant_cannot_be_released(bench: &Bench) {
    let store = bench.store().await;
    let mut request = bench.request(&name("job"));
    request.ttl = bench.ttl * 20;
    let grant = granted(&*store, &request).await;
    store.break_lease(&request.name, grant.token, Break::AfterExpiry).await.expect("break answers");
    assert_eq!(release(&*store, &claim(&request, grant)).await, Released::NotHeld);
    refused(&*store, &bench.request(&request.name)).await;
}

/// A break `Now` frees the name at once, and the renewal of the former holder is refused.
pub async fn s22_a_break_now_frees_at_once(bench: &Bench) {
    let (store, operator) = (bench.store().await, bench.store().await);
    let mut request = bench.request(&name("job"));
    request.ttl = bench.ttl * 20;
    let grant = granted(&*store, &request).await;
    let broken = operator.break_lease(&request.name, grant.token, Break::Now).await.expect("break answers");
    assert_eq!(broken, Released::Freed);
    assert_eq!(inspected(&*store, &request.name).await, None);
    let reason = lost(&*store, &claim(&request, grant), bench.ttl).await;
    assert!(matches!(reason, LossReason::Broken | LossReason::Gone), "{reason:?}");
    let second = granted(&*operator, &bench.request(&request.name)).await;
    assert!(second.token > grant.token);
    assert_eq!(release(&*store, &claim(&request, grant)).await, Released::NotHeld);
    refused(&*store, &bench.request(&request.name)).await;
}

/// A late break does not end the grant of a successor.
pub async fn s22_a_break_never_hits_a_successor(bench: &Bench) {
    let (store, operator) = (bench.store().await, bench.store().await);
    let (request, mut rival) = (bench.request(&name("job")), bench.request(&name("job")));
    rival.ttl = bench.ttl * 20;
    let first = granted(&*store, &request).await;
    bench.wait_until_free(&*store, &request.name).await;
    let second = granted(&*store, &rival).await;
    for how in BOTH {
        let broken = operator.break_lease(&request.name, first.token, how).await.expect("break answers");
        assert_eq!(broken, Released::NotHeld);
    }
    extended(&*store, &claim(&rival, second), rival.ttl).await;
}

/// An ended grant cannot be broken: expired, released, broken, never granted.
pub async fn s22_only_a_grant_in_force_can_be_broken(bench: &Bench) {
    let store = bench.store().await;
    let request = bench.request(&name("job"));
    let grant = granted(&*store, &request).await;
    bench.wait_until_free(&*store, &request.name).await;
    for how in BOTH {
        for job in [&request.name, &name("never-leased")] {
            let broken = store.break_lease(job, grant.token, how).await.expect("break answers");
            assert_eq!(broken, Released::NotHeld, "{job} {how:?}");
        }
    }
    let request = bench.request(&request.name);
    let grant = granted(&*store, &request).await;
    release(&*store, &claim(&request, grant)).await;
    for how in BOTH {
        let broken = store.break_lease(&request.name, grant.token, how).await.expect("break answers");
        assert_eq!(broken, Released::NotHeld, "released, {how:?}");
    }
    let request = bench.request(&request.name);
    let grant = granted(&*store, &request).await;
    for expected in [Released::Freed, Released::NotHeld] {
        let broken = store.break_lease(&request.name, grant.token, Break::Now).await.expect("break answers");
        assert_eq!(broken, expected);
    }
}

/// A break races with the expiry, many times. It never ends the grant of a successor.
pub async fn s22_a_break_racing_an_expiry_hits_only_its_grant(bench: &Bench) {
    let (store, operator) = (bench.store().await, bench.store().await);
    let request = bench.request(&name("job"));
    let mut token = granted(&*store, &request).await.token;
    for round in 0..3 {
        let how = BOTH[round % 2];
        let limit = bench.ttl * 2 + bench.tolerance();
        let mut rival = bench.request(&request.name);
        rival.ttl = bench.ttl * 2;
        let breaks = async {
            bench.sleep(bench.ttl.mul_f64(0.95)).await;
            for _ in 0..20 {
                operator.break_lease(&request.name, token, how).await.expect("break answers");
                bench.sleep(bench.ttl / 100).await;
            }
        };
        let wins = bench.poll("a rival acquires the name", limit, async || match acquired(&*store, &rival).await {
            Acquired::Granted(grant) => Some(grant),
            _ => None,
        });
        let ((), grant) = tokio::join!(breaks, wins);
        assert!(grant.token > token);
        let rival_claim = claim(&rival, grant);
        extended(&*store, &rival_claim, bench.ttl).await;
        release(&*store, &rival_claim).await;
        token = granted(&*store, &bench.request(&request.name)).await.token;
    }
}
