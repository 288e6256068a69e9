//! S2: contenders that judge expiry by watching, with clocks of different rates and slow reads.

use std::{sync::Arc, time::Duration};

use lease_core::{Acquired, Clock, ExpiryJudge, LeaseClient, LeaseOptions, LeaseStore, Renewal, TokioClock};
use lease_document::DocumentStore;
use lease_testkit::{
    SkewedClock,
    calls::{acquired, claim, extended, granted, is_held, release},
};

use crate::common::{Bed, MemoryDocuments, Variant, request, store};

const TTL: Duration = Duration::from_secs(10);

fn watched(latency: Duration) -> Variant {
    // A clock that nobody may believe: it is in every answer.
    Variant { judge: ExpiryJudge::Contenders, tokens_from_versions: false, latency, ..Variant::default() }
}

fn skewed(bed: &Bed, variant: &Variant, parts_per_million: i32) -> (DocumentStore<MemoryDocuments>, SkewedClock) {
    let clock = SkewedClock::new(Arc::clone(&bed.clock), parts_per_million, Duration::from_secs(86_400));
    let documents = MemoryDocuments { bed: bed.clone(), variant: variant.clone() };
    (DocumentStore::builder(documents).clock(clock.clone()).build(), clock)
}

/// Polls until the rival has the name. Returns how long that took on the clock of the bed.
async fn taken_over(bed: &Bed, rival: &dyn LeaseStore, limit: Duration) -> Duration {
    let began = bed.clock.now();
    while is_held(rival, &request("job", "b", TTL)).await {
        bed.sleep(Duration::from_millis(5)).await;
        assert!(bed.clock.now().saturating_since(began) < limit, "never taken over");
    }
    bed.clock.now().saturating_since(began)
}

/// The holder's clock is slow, the contender's fast. What the holder believes never overlaps with the next grant.
#[tokio::test(start_paused = true)]
async fn s02_validity_never_overlaps_at_any_rate() {
    for (holders, contenders) in [(-10_000, 10_000), (10_000, -10_000), (0, 0)] {
        for latency in [0, 40, 300].map(Duration::from_millis) {
            let bed = Bed::new(TokioClock::new());
            let variant = watched(latency);
            let (own, own_clock) = skewed(&bed, &variant, holders);
            let (rival, _) = skewed(&bed, &variant, contenders);
            let client = LeaseClient::builder(own).clock(own_clock.clone()).build();
            let options = LeaseOptions::new(TTL).with_renewal(Renewal::Manual);
            let lease = client.acquire("job", options).await.unwrap();
            // It has been watched for a while when it is renewed.
            for _ in 0..3 {
                assert!(is_held(&rival, &request("job", "b", TTL)).await);
                bed.sleep(TTL / 8).await;
            }
            lease.renew().await.unwrap();
            let until = own_clock.to_base(lease.valid_until());
            taken_over(&bed, &rival, TTL * 3).await;
            assert!(bed.clock.now() >= until, "{holders} {contenders} {latency:?}: early");
            assert!(!lease.is_held());
        }
    }
}

/// The moment counts at which the read has come, and not when it was sent: a read takes so long that a renewal falls between.
#[tokio::test(start_paused = true)]
async fn s02_a_watch_counts_from_after_the_read() {
    let bed = Bed::new(TokioClock::new());
    let (own, rival) = (store(&bed, &watched(Duration::ZERO)), store(&bed, &watched(Duration::ZERO)));
    let mine = request("job", "a", TTL);
    let held = claim(&mine, granted(&own, &mine).await);
    // Only this read is slow: the same delay before the take-over would hide what the watch began too early.
    bed.state().request_delay = TTL / 4;
    let reading = tokio::spawn({
        let rival = rival.clone();
        async move { is_held(&rival, &request("job", "b", TTL)).await }
    });
    let just_before = Duration::from_millis(10);
    bed.sleep(just_before).await;
    bed.state().request_delay = Duration::ZERO;
    bed.sleep(TTL / 4 - just_before * 2).await;
    extended(&own, &held, TTL).await;
    let renewed = bed.clock.now();
    assert!(reading.await.unwrap());
    taken_over(&bed, &rival, TTL * 3).await;
    let watched = bed.clock.now().saturating_since(renewed);
    assert!(watched >= TTL.mul_f64(1.01), "taken over {watched:?} after the renewal");
}

/// No clock of the store is believed: it may jump by a year in each direction.
#[tokio::test(start_paused = true)]
async fn s02_no_clock_of_the_store_is_believed() {
    let bed = Bed::new(TokioClock::new());
    let (own, rival) = (store(&bed, &watched(Duration::ZERO)), store(&bed, &watched(Duration::ZERO)));
    let mine = request("job", "a", TTL);
    granted(&own, &mine).await;
    assert!(is_held(&rival, &request("job", "b", TTL)).await);
    bed.state().clock_ahead = TTL * 3_000_000;
    assert!(is_held(&rival, &request("job", "b", TTL)).await);
    bed.state().clock_ahead = Duration::ZERO;
    bed.state().clock_back = TTL * 3_000_000;
    let after = taken_over(&bed, &rival, TTL * 2).await;
    assert!(after >= TTL.mul_f64(1.01) && after <= TTL.mul_f64(1.1), "{after:?}");
    assert_eq!(own.clock_uncertainty(), None);
}

/// A release is seen at once, and one that comes after the expiry spares newcomers the watch.
#[tokio::test(start_paused = true)]
async fn s02_a_release_needs_no_watch() {
    let bed = Bed::new(TokioClock::new());
    let own = store(&bed, &watched(Duration::ZERO));
    for late in [Duration::ZERO, TTL * 2] {
        let mine = request("job", "a", TTL);
        let held = claim(&mine, granted(&own, &mine).await);
        bed.sleep(late).await;
        release(&own, &held).await;
        let newcomer = store(&bed, &watched(Duration::ZERO));
        let theirs = request("job", "b", TTL);
        let next = claim(&theirs, granted(&newcomer, &theirs).await);
        release(&newcomer, &next).await;
    }
}

/// The watch is a cache. Its old entries are removed, and those of names that are asked for stay.
#[tokio::test(start_paused = true)]
async fn s02_what_is_watched_is_bounded_and_survives_while_it_is_asked_for() {
    let bed = Bed::new(TokioClock::new());
    let (own, rival) = (store(&bed, &watched(Duration::ZERO)), store(&bed, &watched(Duration::ZERO)));
    let long = TTL * 100;
    granted(&own, &request("job", "a", long)).await;
    assert!(is_held(&rival, &request("job", "b", TTL)).await);
    for number in 0..3000 {
        bed.sleep(long / 3000).await;
        rival.inspect(&lease_testkit::calls::name("job")).await.unwrap();
        granted(&rival, &request(&format!("other/{number}"), "b", Duration::from_millis(1))).await;
    }
    let left = match acquired(&rival, &request("job", "b", TTL)).await {
        Acquired::Held { retry_after, .. } => retry_after.unwrap(),
        other => panic!("{other:?}"),
    };
    assert!(left <= long / 10, "{left:?} left to watch: the watch began anew");
}
