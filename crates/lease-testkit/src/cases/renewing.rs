//! Renewals of a store: their effects and their limits.

use lease_core::{Acquired, Correlation, GrantId, LossReason, Metadata, MetadataUpdate, Renewed};

use crate::{
    Injection,
    bench::Bench,
    calls::{acquired, claim, extended, granted, inspected, lost, name, only, refused, release, renewal},
};

/// A lease that is renewed in time outlives its ttl.
pub async fn s07_a_renewed_lease_outlives_its_ttl(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let request = bench.request(&name("job"));
    let start = bench.now();
    let claim = claim(&request, granted(&*store, &request).await);
    while bench.now().saturating_since(start) < bench.ttl * 2 {
        bench.sleep(bench.ttl / 3).await;
        extended(&*store, &claim, bench.ttl).await;
    }
    refused(&*other, &bench.request(&request.name)).await;
}

/// A renewal of an expired grant is refused, even if the name is free.
pub async fn s07_a_renewal_never_revives_an_expired_lease(bench: &Bench) {
    let store = bench.store().await;
    let request = bench.request(&name("job"));
    let claim = claim(&request, granted(&*store, &request).await);
    bench.wait_until_free(&*store, &request.name).await;
    lost(&*store, &claim, bench.ttl).await;
    assert_eq!(inspected(&*store, &request.name).await, None);
    granted(&*store, &bench.request(&request.name)).await;
}

/// A renewal that was sent before the expiry, and arrives after it but before any rival, is refused; or it extends the grant, where
/// the store declares so. It then extends by no more than the ttl from its beginning, and keeps the token.
pub async fn s07_a_renewal_that_arrives_after_the_expiry(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let extends = store.capabilities().extends_late_renewals;
    let request = bench.request(&name("job"));
    let grant = granted(&*store, &request).await;
    let claim = claim(&request, grant);
    bench.sleep(bench.ttl.mul_f64(0.6)).await;
    let longest = bench.rounded(bench.ttl, &store.capabilities());
    if bench.delay_requests(longest.mul_f64(0.6)).await == Injection::Unsupported {
        return;
    }
    let (sent, renewed) = (bench.now(), only(store.renew(&[renewal(&claim, bench.ttl)]).await));
    bench.heal().await;
    match renewed.expect("renew answers") {
        Renewed::Extended { remaining } => {
            assert!(extends, "the store declares that it refuses late renewals");
            assert!(remaining <= longest, "{remaining:?} left, of {longest:?} at most");
            let record = inspected(&*other, &request.name).await.expect("extended");
            assert_eq!((record.holder, record.token), (request.holder.clone(), grant.token));
            refused(&*other, &bench.request(&request.name)).await;
            bench.granted_after_expiry(&*other, &bench.request(&request.name)).await;
            let after = bench.now().saturating_since(sent);
            assert!(after >= remaining.mul_f64(0.99), "taken over after {after:?}, with {remaining:?} left");
        }
        Renewed::Lost(reason) => {
            assert!(!extends, "the store declares that late renewals extend, but: {reason:?}");
            assert_eq!(inspected(&*other, &request.name).await, None);
        }
        other => panic!("{other:?}"),
    }
}

/// A renewal of a released grant is refused.
pub async fn s07_a_renewal_never_revives_a_released_lease(bench: &Bench) {
    let store = bench.store().await;
    let request = bench.request(&name("job"));
    let claim = claim(&request, granted(&*store, &request).await);
    release(&*store, &claim).await;
    lost(&*store, &claim, bench.ttl).await;
    assert_eq!(inspected(&*store, &request.name).await, None);
}

/// A renewal with another holder, nonce or name is refused, and extends nothing.
pub async fn s07_a_strangers_renewal_changes_nothing(bench: &Bench) {
    let store = bench.store().await;
    let request = bench.request(&name("job"));
    let grant = granted(&*store, &request).await;
    let own = claim(&request, grant);
    let mut strangers = [own.clone(), own.clone(), own.clone()];
    strangers[0].holder = bench.holder();
    strangers[1].grant = GrantId::random();
    strangers[2].name = name("other");
    for stranger in strangers {
        lost(&*store, &stranger, bench.ttl * 20).await;
    }
    let record = inspected(&*store, &request.name).await.expect("the lease is still held");
    assert!(record.remaining <= bench.rounded(bench.ttl, &store.capabilities()), "the wrong claim extended the lease");
    assert_eq!((record.holder, record.token), (request.holder, grant.token));
    extended(&*store, &own, bench.ttl).await;
}

/// A renewal with a shorter ttl does not shorten the lease.
pub async fn s07_a_renewal_never_shortens(bench: &Bench) {
    let store = bench.store().await;
    let mut request = bench.request(&name("job"));
    request.ttl = bench.ttl * 30;
    let claim = claim(&request, granted(&*store, &request).await);
    let remaining = extended(&*store, &claim, bench.ttl).await;
    assert!(remaining > bench.ttl * 15, "shortened to {remaining:?}");
    let record = inspected(&*store, &request.name).await.expect("the lease is still held");
    assert!(record.remaining > bench.ttl * 15, "shortened to {:?}", record.remaining);
}

/// A renewal with a shorter ttl from another process does not shorten the lease either.
pub async fn s07_a_renewal_by_another_process_never_shortens(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let request = bench.request(&name("job")).with_ttl(bench.ttl * 30);
    let claim = claim(&request, granted(&*store, &request).await);
    extended(&*other, &claim, bench.ttl).await;
    let record = inspected(&*store, &request.name).await.expect("the lease is still held");
    assert!(record.remaining > bench.ttl * 15, "shortened to {:?}", record.remaining);
}

/// After a take-over the renewal of the former holder is refused with a correct reason, and does not affect the new grant.
pub async fn s07_a_renewal_after_a_take_over_is_refused(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let (request, rival) = (bench.request(&name("job")), bench.request(&name("job")));
    let first = claim(&request, granted(&*store, &request).await);
    bench.wait_until_free(&*store, &request.name).await;
    let grant = bench.granted_after_expiry(&*other, &rival).await;
    match lost(&*store, &first, bench.ttl).await {
        LossReason::TakenOver { by, token, .. } => {
            assert!(by.is_none_or(|by| by == rival.holder) && token.is_none_or(|token| token == grant.token));
        }
        reason => assert!(matches!(reason, LossReason::Expired | LossReason::Gone), "{reason:?}"),
    }
    extended(&*other, &claim(&rival, grant), bench.ttl).await;
}

/// The renewal of a name that was never leased is refused.
pub async fn s07_a_renewal_of_an_unknown_name_is_refused(bench: &Bench) {
    let store = bench.store().await;
    let request = bench.request(&name("never-leased"));
    let grant = granted(&*store, &bench.request(&name("job"))).await;
    lost(&*store, &claim(&request, grant), bench.ttl).await;
    assert_eq!(inspected(&*store, &request.name).await, None);
}

/// Metadata is stored byte for byte, up to the largest size, and survives renewals.
pub async fn metadata_is_kept_with_the_grant(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let mut request = bench.request(&name("job"));
    let awkward = [("address", "10.0.0.7:443"), ("quote ' \" \\ $1 {}", "% _ ü 👍 null"), ("empty", "")];
    let size: usize = awkward.iter().map(|(key, value)| key.len() + value.len()).sum();
    let filler = "x".repeat(Metadata::MAX_BYTES - size - "filler".len());
    // A correlation id comes on top of the largest size.
    let id = "c".repeat(Correlation::MAX_BYTES);
    let largest = [("filler", filler.as_str()), (Correlation::METADATA_KEY, id.as_str())];
    let entries = awkward.into_iter().chain(largest);
    request.metadata = Metadata::new(entries).expect("the largest metadata");
    let claim = claim(&request, granted(&*store, &request).await);
    assert_eq!(inspected(&*other, &request.name).await.map(|record| record.metadata), Some(request.metadata.clone()));
    extended(&*store, &claim, bench.ttl).await;
    assert_eq!(inspected(&*other, &request.name).await.map(|record| record.metadata), Some(request.metadata));
}

/// Of changed metadata the higher revision stays, in whichever order the changes arrive.
pub async fn metadata_of_the_higher_revision_stays(bench: &Bench) {
    let store = bench.store().await;
    let request = bench.request(&name("job"));
    let claim = claim(&request, granted(&*store, &request).await);
    for (revision, expected) in [(2, 2), (1, 2), (2, 2), (3, 3)] {
        let metadata = Metadata::new([("revision", revision.to_string())]).expect("valid metadata");
        let mut renewal = renewal(&claim, bench.ttl);
        renewal.metadata = Some(MetadataUpdate::new(revision, metadata));
        let renewed = only(store.renew(&[renewal]).await).expect("renew answers");
        assert!(matches!(renewed, Renewed::Extended { .. }), "{renewed:?}");
        let record = inspected(&*store, &request.name).await.expect("the lease is still held");
        assert_eq!(record.metadata.get("revision"), Some(expected.to_string().as_str()));
    }
}

/// Metadata and its revision end with the grant.
pub async fn metadata_ends_with_its_grant(bench: &Bench) {
    let store = bench.store().await;
    let first = bench.request(&name("job"));
    let metadata = |value: &str| Metadata::new([("is", value)]).expect("valid metadata");
    let first_claim = claim(&first, granted(&*store, &first).await);
    let mut update = renewal(&first_claim, bench.ttl);
    update.metadata = Some(MetadataUpdate::new(9, metadata("first")));
    only(store.renew(&[update]).await).expect("renew answers");
    release(&*store, &first_claim).await;

    let second = bench.request(&first.name);
    let second_claim = claim(&second, granted(&*store, &second).await);
    assert!(inspected(&*store, &first.name).await.expect("held").metadata.is_empty());
    let mut update = renewal(&second_claim, bench.ttl);
    update.metadata = Some(MetadataUpdate::new(1, metadata("second")));
    only(store.renew(&[update]).await).expect("renew answers");
    assert_eq!(inspected(&*store, &first.name).await.expect("held").metadata, metadata("second"));
}

/// A renewal without a valid claim changes no metadata.
pub async fn s07_metadata_needs_the_lease(bench: &Bench) {
    let store = bench.store().await;
    let request = bench.request(&name("job"));
    let own = claim(&request, granted(&*store, &request).await);
    let mut stranger = own.clone();
    stranger.grant = GrantId::random();
    let mut update = renewal(&stranger, bench.ttl);
    let metadata = Metadata::new([("is", "forged")]).expect("valid metadata");
    update.metadata = Some(MetadataUpdate::new(7, metadata));
    let renewed = only(store.renew(&[update]).await).expect("renew answers");
    assert!(matches!(renewed, Renewed::Lost(_)), "{renewed:?}");
    assert!(inspected(&*store, &request.name).await.expect("held").metadata.is_empty());
    assert!(matches!(acquired(&*store, &request).await, Acquired::Granted(_)));
}
