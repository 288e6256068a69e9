//! Which release ends a grant, and what follows it.

use lease_core::{Acquired, GrantId, ReleaseRequest, Released};

use crate::{
    bench::Bench,
    calls::{acquired, claim, extended, granted, inspected, lost, name, only, plain_release, refused, release},
};

/// A released name is free at once.
pub async fn s11_a_release_frees_at_once(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let mut request = bench.request(&name("job"));
    request.ttl = bench.ttl * 20;
    let claim = claim(&request, granted(&*store, &request).await);
    assert_eq!(release(&*store, &claim).await, Released::Freed);
    assert_eq!(inspected(&*other, &request.name).await, None);
    granted(&*other, &bench.request(&request.name)).await;
}

/// A second release of a grant changes nothing.
pub async fn s11_a_release_is_idempotent(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let request = bench.request(&name("job"));
    let claim = claim(&request, granted(&*store, &request).await);
    assert_eq!(release(&*store, &claim).await, Released::Freed);
    assert_eq!(release(&*store, &claim).await, Released::NotHeld);
    assert_eq!(release(&*other, &claim).await, Released::NotHeld);
}

/// A grant whose answer was lost can be released, without token and handle.
pub async fn s11_a_release_needs_no_answer_of_the_acquire(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let request = bench.request(&name("job"));
    let mut claim = claim(&request, granted(&*store, &request).await);
    claim.handle = 0;
    assert_eq!(release(&*other, &claim).await, Released::Freed);
    granted(&*store, &bench.request(&request.name)).await;
}

/// A late release does not end the grant of a successor.
pub async fn s11_a_release_never_frees_a_successor(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let (request, mut rival) = (bench.request(&name("job")), bench.request(&name("job")));
    rival.ttl = bench.ttl * 20;
    let first = claim(&request, granted(&*store, &request).await);
    bench.wait_until_free(&*store, &request.name).await;
    let second = claim(&rival, bench.granted_after_expiry(&*other, &rival).await);
    assert_eq!(release(&*store, &first).await, Released::NotHeld);
    refused(&*store, &bench.request(&request.name)).await;
    extended(&*other, &second, rival.ttl).await;
}

/// A late release does not end the next grant of the same holder.
pub async fn s11_a_release_never_frees_the_next_grant_of_its_holder(bench: &Bench) {
    let store = bench.store().await;
    let first = bench.request(&name("job"));
    let mut second = bench.request(&first.name);
    second.holder = first.holder.clone();
    let first_claim = claim(&first, granted(&*store, &first).await);
    release(&*store, &first_claim).await;
    let second_claim = claim(&second, granted(&*store, &second).await);
    assert_eq!(release(&*store, &first_claim).await, Released::NotHeld);
    extended(&*store, &second_claim, bench.ttl).await;
}

/// A release with another holder, nonce or name changes nothing.
pub async fn s11_a_strangers_release_changes_nothing(bench: &Bench) {
    let store = bench.store().await;
    let request = bench.request(&name("job"));
    let own = claim(&request, granted(&*store, &request).await);
    let mut strangers = [own.clone(), own.clone(), own.clone()];
    strangers[0].holder = bench.holder();
    strangers[1].grant = GrantId::random();
    strangers[2].name = name("other");
    for stranger in strangers {
        assert_eq!(release(&*store, &stranger).await, Released::NotHeld, "{stranger:?}");
    }
    refused(&*store, &bench.request(&request.name)).await;
    extended(&*store, &own, bench.ttl).await;
}

/// The release of an expired grant returns `NotHeld`, with or without `hold_for`.
pub async fn s11_a_release_after_expiry_is_not_held(bench: &Bench) {
    let store = bench.store().await;
    let request = bench.request(&name("job"));
    let claim = claim(&request, granted(&*store, &request).await);
    bench.wait_until_free(&*store, &request.name).await;
    let late = plain_release(&claim).with_hold_for(bench.ttl * 20);
    assert_eq!(only(store.release(&[late]).await).expect("release answers"), Released::NotHeld);
    granted(&*store, &bench.request(&request.name)).await;
}

/// A release with `hold_for` keeps the name blocked for that time and no longer, for the former holder too.
pub async fn s11_hold_for_keeps_the_name_blocked(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let mut request = bench.request(&name("job"));
    request.ttl = bench.ttl * 20;
    let claim = claim(&request, granted(&*store, &request).await);
    let sent = bench.now();
    let held = plain_release(&claim).with_hold_for(bench.ttl);
    assert_eq!(only(store.release(&[held]).await).expect("release answers"), Released::Freed);
    lost(&*store, &claim, bench.ttl * 20).await;
    assert_eq!(release(&*store, &claim).await, Released::NotHeld, "a second release unblocked the name");
    let mut again = bench.request(&request.name);
    again.holder = request.holder.clone();
    refused(&*store, &again).await;
    refused(&*other, &bench.request(&request.name)).await;
    let record = inspected(&*other, &request.name).await.expect("the record of a blocked name");
    assert_eq!((&record.holder, record.released), (&request.holder, true));
    let limit = bench.ttl + bench.tolerance();
    bench
        .poll("the name is free after the time", limit, async || {
            matches!(acquired(&*other, &bench.request(&request.name)).await, Acquired::Granted(_)).then_some(())
        })
        .await;
    let blocked = bench.now().saturating_since(sent);
    assert!(blocked >= bench.ttl.mul_f64(0.99), "blocked for only {blocked:?}");
}

/// A hand-over grants the name to its successor, and to no other holder.
pub async fn s11_reserved_for_lets_the_successor_in(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let (request, mut successor) = (bench.request(&name("job")), bench.request(&name("job")));
    successor.ttl = bench.ttl * 20;
    let first = granted(&*store, &request).await;
    let hand_over = ReleaseRequest::new(claim(&request, first))
        .with_hold_for(bench.ttl * 20)
        .with_reserved_for(successor.holder.clone());
    assert_eq!(only(store.release(&[hand_over]).await).expect("release answers"), Released::Freed);
    refused(&*store, &bench.request(&request.name)).await;
    let mut former = bench.request(&request.name);
    former.holder = request.holder.clone();
    refused(&*store, &former).await;

    let second = granted(&*other, &successor).await;
    assert!(second.token > first.token, "{} is not greater than {}", second.token, first.token);
    refused(&*store, &bench.request(&request.name)).await;
}

/// A reservation ends, even if the successor never comes.
pub async fn s11_a_reservation_ends(bench: &Bench) {
    let store = bench.store().await;
    let request = bench.request(&name("job"));
    let claim = claim(&request, granted(&*store, &request).await);
    let reserved_for = Some(bench.holder());
    let hand_over = ReleaseRequest::new(claim).with_hold_for(bench.ttl).with_reserved_for(reserved_for);
    assert_eq!(only(store.release(&[hand_over]).await).expect("release answers"), Released::Freed);
    refused(&*store, &bench.request(&request.name)).await;
    bench.wait_until_free(&*store, &request.name).await;
    granted(&*store, &bench.request(&request.name)).await;
}

/// A reservation ends when its successor was granted: after the successor's release the name is free for every holder.
pub async fn s11_a_reservation_is_over_when_its_successor_came(bench: &Bench) {
    let store = bench.store().await;
    let [request, next, last] = [(); 3].map(|()| bench.request(&name("job")).with_ttl(bench.ttl * 30));
    let first = claim(&request, granted(&*store, &request).await);
    let hand_over =
        ReleaseRequest::new(first).with_hold_for(bench.ttl * 30).with_reserved_for(Some(next.holder.clone()));
    assert_eq!(only(store.release(&[hand_over]).await).expect("release answers"), Released::Freed);
    let successor = claim(&next, granted(&*store, &next).await);
    assert_eq!(release(&*store, &successor).await, Released::Freed);
    granted(&*store, &last).await;
}

/// The release of a name that was never leased returns `NotHeld`.
pub async fn s11_a_release_of_an_unknown_name_is_not_held(bench: &Bench) {
    let store = bench.store().await;
    let grant = granted(&*store, &bench.request(&name("job"))).await;
    let unknown = claim(&bench.request(&name("never-leased")), grant);
    assert_eq!(release(&*store, &unknown).await, Released::NotHeld);
}
