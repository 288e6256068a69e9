//! Repeated requests with the same nonce, which names the attempt (S13).

use lease_core::{Acquired, Break, GrantId};

use crate::{
    bench::Bench,
    calls::{acquired, claim, extended, granted, name, refused, release, spent},
};

/// A repeated request finds its own grant, in any process: same token, and no more time left than before.
pub async fn s13_a_repeated_request_meets_its_own_grant(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let request = bench.request(&name("job"));
    let first = granted(&*store, &request).await;
    for store in [&store, &other] {
        let again = granted(&**store, &request).await;
        assert_eq!(again.token, first.token);
        assert!(again.remaining <= bench.rounded(bench.ttl, &store.capabilities()), "{:?} left", again.remaining);
    }
    extended(&*other, &claim(&request, first), bench.ttl).await;
}

/// No other holder gets the name before the remaining time of a repeated request has passed (S1).
pub async fn s13_a_repeated_request_tells_the_truth_about_what_is_left(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let request = bench.request(&name("job"));
    granted(&*store, &request).await;
    bench.sleep(bench.ttl / 2).await;
    let sent = bench.now();
    let again = granted(&*store, &request).await;
    let limit = bench.ttl * 2 + bench.tolerance();
    bench
        .poll("a rival acquires the name after the expiry", limit, async || {
            let acquired = acquired(&*other, &bench.request(&request.name)).await;
            matches!(acquired, Acquired::Granted(_)).then_some(())
        })
        .await;
    let after = bench.now().saturating_since(sent);
    assert!(after >= again.remaining.mul_f64(0.99), "taken over after {after:?}, with {:?} left", again.remaining);
}

/// A duplicate that arrives after the release grants nothing, where the store remembers the last grant.
pub async fn s13_a_nonce_is_spent_after_its_release(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let request = bench.request(&name("job"));
    let first = granted(&*store, &request).await;
    release(&*store, &claim(&request, first)).await;
    if store.capabilities().remembers_last_grant {
        spent(&*store, &request).await;
        spent(&*other, &request).await;
        granted(&*other, &bench.request(&request.name)).await;
    } else {
        assert!(granted(&*store, &request).await.token > first.token, "the token of the new grant is not greater");
    }
}

/// A duplicate that arrives after the expiry grants nothing.
pub async fn s13_a_nonce_is_spent_after_its_expiry(bench: &Bench) {
    let store = bench.store().await;
    let request = bench.request(&name("job"));
    let first = granted(&*store, &request).await;
    bench.wait_until_free(&*store, &request.name).await;
    if store.capabilities().remembers_last_grant {
        spent(&*store, &request).await;
    } else {
        assert!(granted(&*store, &request).await.token > first.token, "the token of the new grant is not greater");
    }
}

/// A duplicate that arrives after a break grants nothing, while the name is blocked and afterwards.
pub async fn s13_a_nonce_is_spent_after_a_break(bench: &Bench) {
    let store = bench.store().await;
    let remembers = store.capabilities().remembers_last_grant;
    for (job, how) in [(name("now"), Break::Now), (name("after-expiry"), Break::AfterExpiry)] {
        let request = bench.request(&job);
        let first = granted(&*store, &request).await;
        store.break_lease(&job, first.token, how).await.expect("break answers");
        if how == Break::AfterExpiry {
            let blocked = acquired(&*store, &request).await;
            assert!(!matches!(blocked, Acquired::Granted(_)), "a broken grant was granted again: {blocked:?}");
            bench.sleep(bench.rounded(bench.ttl, &store.capabilities())).await;
        }
        // Some clocks are late.
        let answer = bench.poll("the name is not blocked any more", bench.ttl + bench.tolerance(), async || {
            Some(acquired(&*store, &request).await).filter(|answer| !matches!(answer, Acquired::Held { .. }))
        });
        match answer.await {
            Acquired::Spent => assert!(remembers, "the store declares that it does not remember the last grant"),
            Acquired::Granted(again) => {
                assert!(!remembers && again.token > first.token, "a broken grant was granted again: {again:?}")
            }
            other => panic!("unexpected answer: {other:?}"),
        }
    }
}

/// A duplicate that arrives during the grant of a successor grants nothing.
pub async fn s13_a_duplicate_meets_its_successor_and_gets_nothing(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let (request, mut rival) = (bench.request(&name("job")), bench.request(&name("job")));
    rival.ttl = bench.ttl * 20;
    let grant = granted(&*store, &request).await;
    release(&*store, &claim(&request, grant)).await;
    let successor = granted(&*other, &rival).await;
    refused(&*store, &request).await;
    extended(&*other, &claim(&rival, successor), rival.ttl).await;
}

/// Two nonces of one holder exclude each other: a lease is not re-entrant.
pub async fn s14_two_nonces_of_one_holder_are_two_owners(bench: &Bench) {
    let store = bench.store().await;
    let first = bench.request(&name("job"));
    let mut second = first.clone();
    second.grant = GrantId::random();
    granted(&*store, &first).await;
    refused(&*store, &second).await;
}

/// Two holders with the same nonce exclude each other.
pub async fn s14_a_nonce_is_of_one_holder(bench: &Bench) {
    let store = bench.store().await;
    let first = bench.request(&name("job"));
    let mut second = first.clone();
    second.holder = bench.holder();
    granted(&*store, &first).await;
    refused(&*store, &second).await;
}
