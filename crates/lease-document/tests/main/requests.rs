//! How many requests each operation costs.

use std::time::Duration;

use lease_core::{Acquired, Break, ExpiryJudge, FencingToken, LeaseStore, Released, Renewed, TokioClock};
use lease_testkit::calls::{claim, granted, name, only, plain_release, renewal};

use crate::common::{
    Bed,
    Request::{Clock, Get, List, Put},
    Variant, request, store,
};

const TTL: Duration = Duration::from_secs(10);

/// For both judges.
#[tokio::test(start_paused = true)]
async fn each_operation_costs_as_few_requests_as_it_can() {
    let watched = Variant { judge: ExpiryJudge::Contenders, resolution: None, ..Variant::default() };
    for variant in [Variant::default(), watched] {
        let bed = Bed::new(TokioClock::new());
        let (own, other) = (store(&bed, &variant), store(&bed, &variant));
        let first = request("job", "a", TTL);
        let held = claim(&first, granted(&own, &first).await);
        assert_eq!(bed.take_requests(), [Get, Put], "acquire");
        for _ in 0..3 {
            bed.sleep(TTL / 3).await;
            assert!(matches!(only(own.renew(&[renewal(&held, TTL)]).await).unwrap(), Renewed::Extended { .. }));
            assert_eq!(bed.take_requests(), [Put], "renew");
        }
        let tried = only(other.acquire(&[request("job", "b", TTL)]).await).unwrap();
        assert!(matches!(tried, Acquired::Held { .. }));
        assert_eq!(bed.take_requests(), [Get], "a try for a held name");
        assert!(matches!(only(other.renew(&[renewal(&held, TTL)]).await).unwrap(), Renewed::Extended { .. }));
        assert_eq!(bed.take_requests(), [Get, Put], "renew by another process");
        assert!(matches!(only(own.renew(&[renewal(&held, TTL)]).await).unwrap(), Renewed::Extended { .. }));
        assert_eq!(bed.take_requests(), [Put, Get, Put], "renew after a conflict");
        assert_eq!(only(own.release(&[plain_release(&held)]).await).unwrap(), Released::Freed);
        assert_eq!(bed.take_requests(), [Put], "release");

        let second = request("job", "b", TTL);
        let token = granted(&other, &second).await.token;
        bed.take_requests();
        assert!(other.inspect(&second.name).await.unwrap().is_some());
        assert_eq!(bed.take_requests(), [Get], "inspect");
        assert_eq!(other.list("job", None, 10).await.unwrap().len(), 1);
        let listed = bed.take_requests();
        assert!(!listed.is_empty() && listed.iter().all(|request| *request == List), "{listed:?}");
        assert_eq!(
            own.break_lease(&name("job"), FencingToken::new(1).unwrap(), Break::Now).await.unwrap(),
            Released::NotHeld
        );
        assert_eq!(bed.take_requests(), [Get], "a break of another grant");
        assert_eq!(own.break_lease(&name("job"), token, Break::Now).await.unwrap(), Released::Freed);
        assert_eq!(bed.take_requests(), [Get, Put], "break");
    }
}

/// A break that leaves the name blocked writes once, and does not move the end, however little is known of the clock.
#[tokio::test(start_paused = true)]
async fn s22_a_break_writes_once_and_keeps_the_end() {
    let bed = Bed::new(TokioClock::new());
    let variant = Variant { resolution: Some(Duration::from_secs(1)), ..Variant::default() };
    let (own, admin) = (store(&bed, &variant), store(&bed, &variant));
    let first = request("job", "a", TTL);
    let grant = granted(&own, &first).await;
    let until = |bed: &Bed| {
        let record = bed.state().documents[&name("job")].value.clone();
        serde_json::from_slice::<serde_json::Value>(&record).unwrap()["until_us"].as_u64().unwrap()
    };
    let before = until(&bed);
    bed.sleep(TTL / 2).await;
    bed.take_requests();
    let broken = admin.break_lease(&name("job"), grant.token, Break::AfterExpiry).await.unwrap();
    assert_eq!((broken, bed.take_requests()), (Released::Freed, vec![Get, Put]));
    assert_eq!(until(&bed), before);
}

/// A clock that answers do not carry is asked for once in a while, and not for each request.
#[tokio::test(start_paused = true)]
async fn the_clock_is_asked_for_seldom() {
    let bed = Bed::new(TokioClock::new());
    let own = store(&bed, &Variant { asks_for_clock: true, ..Variant::default() });
    for number in 0..50 {
        granted(&own, &request(&format!("job/{number}"), "a", TTL)).await;
        bed.sleep(TTL / 10).await;
    }
    let asked = bed.take_requests().into_iter().filter(|request| *request == Clock).count();
    assert!((4..=6).contains(&asked), "asked {asked} times in 50 s");
}

/// The requests of a batch are in flight together, up to the bound.
#[tokio::test(start_paused = true)]
async fn a_batch_is_sent_at_once_within_the_bound() {
    let latency = Duration::from_millis(10);
    for (concurrency, rounds) in [(1, 8), (4, 2), (0, 8), (100, 1)] {
        let bed = Bed::new(TokioClock::new());
        let own = store(&bed, &Variant { latency, concurrency, ..Variant::default() });
        let requests: Vec<_> = (0..8).map(|number| request(&format!("job/{number}"), "a", TTL)).collect();
        let began = bed.clock.now();
        assert!(own.acquire(&requests).await.iter().all(|answer| matches!(answer, Ok(Acquired::Granted(_)))));
        // Two requests, each there and back.
        assert_eq!(bed.clock.now().saturating_since(began), latency * 4 * rounds, "{concurrency} at once");
    }
}
