//! What is measured, by both ways.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "the clock of the test is that of its paused runtime")]

mod support;

use std::collections::BTreeSet;

use lease_core::{Break, ElectionChange, Lease, LeaseEvent, LeaseOptions, LossReason, Observer};
use lease_metrics::{Groups, LeaseMetrics};
use opentelemetry::metrics::MeterProvider;
use support::{Otel, SECOND, Series, TTL, World, exporter, series_of};
use tokio::time::sleep;

fn otel(otel: &Otel) -> LeaseMetrics {
    LeaseMetrics::otel(&otel.provider.meter("lease")).with_groups(Groups::up_to('/')).with_store("memory")
}

/// Runs everything, and returns what the two ways have measured.
async fn measure() -> (Series, Series) {
    let (recorder, otel) = (exporter(), Otel::new());
    let _guard = metrics::set_default_local_recorder(&recorder);
    let by_otel = self::otel(&otel);
    let by_facade = LeaseMetrics::facade().with_groups(Groups::up_to('/')).with_store("memory");
    let (world, _) = World::new([by_otel, by_facade.clone()]);
    world.everything().await;
    by_facade.refresh();
    (otel.series(), series_of(&recorder.handle().render()))
}

#[tokio::test(start_paused = true)]
async fn each_operation_is_counted_once_with_its_outcome() {
    let (series, _) = measure().await;
    let of_orders = |rest: &str| format!("{{lease_group=\"orders\",lease_store=\"memory\"{rest}}}");
    let of_billing = |rest: &str| format!("{{lease_group=\"billing\",lease_store=\"memory\"{rest}}}");
    let election = "{lease_group=\"größe 1\",lease_store=\"memory\"";
    let expected = [
        (format!("lease_acquire_duration_seconds_count{}", of_orders(",outcome=\"acquired\"")), 2.0),
        (format!("lease_acquire_duration_seconds_count{}", of_orders(",outcome=\"not_acquired\"")), 1.0),
        (format!("lease_acquire_duration_seconds_count{}", of_orders(",outcome=\"wait_limit\"")), 1.0),
        (format!("lease_acquire_duration_seconds_count{}", of_orders(",outcome=\"dropped\"")), 1.0),
        (format!("lease_acquire_duration_seconds_count{}", of_orders(",outcome=\"failed\"")), 1.0),
        (format!("lease_acquire_attempts_count{}", of_orders("")), 6.0),
        (format!("lease_attempts_total{}", of_orders(",outcome=\"granted\"")), 2.0),
        ("lease_attempts_total{error_type=\"unavailable\",lease_group=\"orders\",lease_store=\"memory\",outcome=\"failed\"}".to_owned(), 1.0),
        (format!("lease_renewals_total{}", of_orders(",outcome=\"extended\"")), 2.0),
        (format!("lease_renewal_duration_seconds_count{}", of_orders(",outcome=\"extended\"")), 2.0),
        (format!("lease_renewals_total{}", of_billing(",outcome=\"lost\"")), 1.0),
        (format!("lease_losses_total{}", of_billing(",reason=\"broken\"")), 1.0),
        (format!("lease_losses_total{}", of_billing(",reason=\"expired\"")), 1.0),
        (format!("lease_held_duration_seconds_count{}", of_orders(",reason=\"released\"")), 2.0),
        (format!("lease_releases_total{}", of_orders(",outcome=\"freed\"")), 2.0),
        ("lease_acquire_duration_seconds_count{lease_store=\"memory\",outcome=\"acquired\"}".to_owned(), 1.0),
        (format!("lease_election_terms_total{election},reason=\"released\"}}"), 1.0),
        (format!("lease_election_term_duration_seconds_sum{election},reason=\"released\"}}"), 7.0),
        (format!("lease_election_valid_until_seconds{election}}}"), 0.0),
    ];
    for (name, value) in &expected {
        assert_eq!(series.get(name).map(|value| value.round()), Some(*value), "{name} in {series:#?}");
    }
    assert!(!series.keys().any(|name| name.starts_with("lease_losses") && name.contains("released")));
    let failed: f64 = series
        .iter()
        .filter(|(name, _)| name.starts_with("lease_renewals_total") && name.contains("failed"))
        .map(|(_, count)| count)
        .sum();
    assert!(failed >= 2.0, "{series:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_goes_up_comes_down() {
    let (series, _) = measure().await;
    for name in ["lease_held", "lease_in_jeopardy", "lease_waiters", "lease_election_leads"] {
        let of_name: Vec<_> = series.iter().filter(|(series, _)| series.split('{').next() == Some(name)).collect();
        assert!(!of_name.is_empty(), "{name}");
        for (series, value) in of_name {
            assert_eq!(*value, 0.0, "{series}");
        }
    }
}

/// A dashboard works with either way: names, labels, boundaries and values are the same.
#[tokio::test(start_paused = true)]
async fn both_ways_have_the_same_series() {
    let (mut otel, mut facade) = measure().await;
    let is_computed = |series: &str| series.starts_with("lease_validity_");
    // No lease is held any more: the meter has no sample, the facade one that is not a number.
    assert!(!otel.keys().any(|series| is_computed(series)));
    facade.retain(|series, value| !(is_computed(series) && value.is_nan()));
    for series in [&mut otel, &mut facade] {
        for value in series.values_mut() {
            *value = (*value * 1e6).round();
        }
    }
    let names = |series: &Series| series.keys().cloned().collect::<BTreeSet<_>>();
    let (one, other) = (names(&otel), names(&facade));
    assert_eq!(one.symmetric_difference(&other).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(otel, facade);
    let instruments: BTreeSet<_> = one.iter().map(|series| series.split('{').next().unwrap()).collect();
    let expected = [
        "lease_acquire_attempts_bucket",
        "lease_acquire_attempts_count",
        "lease_acquire_attempts_sum",
        "lease_acquire_duration_seconds_bucket",
        "lease_acquire_duration_seconds_count",
        "lease_acquire_duration_seconds_sum",
        "lease_attempt_duration_seconds_bucket",
        "lease_attempt_duration_seconds_count",
        "lease_attempt_duration_seconds_sum",
        "lease_attempts_total",
        "lease_election_leads",
        "lease_election_term_duration_seconds_bucket",
        "lease_election_term_duration_seconds_count",
        "lease_election_term_duration_seconds_sum",
        "lease_election_terms_total",
        "lease_election_valid_until_seconds",
        "lease_held",
        "lease_held_duration_seconds_bucket",
        "lease_held_duration_seconds_count",
        "lease_held_duration_seconds_sum",
        "lease_in_jeopardy",
        "lease_losses_total",
        "lease_releases_total",
        "lease_renewal_duration_seconds_bucket",
        "lease_renewal_duration_seconds_count",
        "lease_renewal_duration_seconds_sum",
        "lease_renewals_total",
        "lease_waiters",
    ];
    assert!(instruments.iter().copied().eq(expected), "{instruments:#?}");
}

#[tokio::test(start_paused = true)]
async fn no_name_holder_or_token_is_a_label() {
    let (series, _) = measure().await;
    let mut values = BTreeSet::new();
    for name in series.keys() {
        let labels = name.split_once('{').map_or("", |(_, labels)| labels);
        for label in labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()) {
            let (key, value) = label.split_once('=').unwrap();
            let known = ["lease_store", "lease_group", "outcome", "reason", "error_type", "le"];
            assert!(known.contains(&key), "{name}");
            if key == "lease_group" {
                values.insert(value.trim_matches('"').to_owned());
            }
        }
    }
    assert!(values.iter().eq(["billing", "elections", "größe 1", "orders"]), "{values:?}");
}

#[tokio::test(start_paused = true)]
async fn the_least_validity_is_that_of_the_group_and_goes_with_its_leases() {
    let (recorder, otel) = (exporter(), Otel::new());
    let _guard = metrics::set_default_local_recorder(&recorder);
    let by_facade = LeaseMetrics::facade().with_groups(Groups::up_to('/')).with_store("memory");
    let (world, _) = World::new([self::otel(&otel), by_facade.clone()]);
    let short = world.client.acquire("orders/short", LeaseOptions::new(SECOND * 10)).await.unwrap();
    let long = world.client.acquire("orders/long", LeaseOptions::new(SECOND * 100)).await.unwrap();
    let all = |series: Series| -> Vec<f64> {
        ["lease_validity_min_seconds", "lease_validity_share_min"]
            .map(|name| series[&format!("{name}{{lease_group=\"orders\",lease_store=\"memory\"}}")])
            .to_vec()
    };
    by_facade.refresh();
    for values in [all(otel.series()), all(series_of(&recorder.handle().render()))] {
        assert!(values[0] > 8.0 && values[0] < 9.9 && values[1] > 0.9 && values[1] < 0.99, "{values:?}");
    }
    short.release().await.unwrap();
    by_facade.refresh();
    for values in [all(otel.series()), all(series_of(&recorder.handle().render()))] {
        assert!(values[0] > 90.0, "{values:?}");
    }
    long.release().await.unwrap();
    by_facade.refresh();
    assert!(!otel.series().keys().any(|name| name.contains("validity")));
    assert!(all(series_of(&recorder.handle().render())).iter().all(|value| value.is_nan()));
}

#[tokio::test(start_paused = true)]
async fn a_leader_says_until_when_it_leads() {
    let otel = Otel::new();
    let (world, _) = World::new([self::otel(&otel)]);
    let election =
        lease_election::Election::new(world.client.clone(), "jobs", lease_election::ElectionOptions::default())
            .unwrap();
    let candidate = election.candidate(lease_election::CandidateOptions::new()).unwrap();
    candidate.wait_for_leadership().await.unwrap();
    let of = |name: &str| otel.series()[&format!("{name}{{lease_group=\"jobs\",lease_store=\"memory\"}}")];
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let lasts = of("lease_election_valid_until_seconds") - now();
    assert!(lasts > 10.0 && lasts < 15.0, "{lasts}");
    assert_eq!(of("lease_election_leads"), 1.0);
    sleep(SECOND * 7).await;
    let renewed = of("lease_election_valid_until_seconds") - now();
    assert!(renewed > lasts - 1.0, "its renewals move it: {renewed}");
    candidate.stop().await.unwrap();
    assert_eq!((of("lease_election_valid_until_seconds"), of("lease_election_leads")), (0.0, 0.0));
}

/// Several tasks report at once: the end of a lease can overtake its jeopardy.
#[tokio::test(start_paused = true)]
async fn a_jeopardy_after_the_loss_counts_for_nothing() {
    let (world, events) = World::new([]);
    world.everything().await;
    let otel = Otel::new();
    let metrics = self::otel(&otel);
    let recorded = std::mem::take(&mut *events.0.lock().unwrap());
    let is_late = |event: &&LeaseEvent| matches!(event, LeaseEvent::Jeopardy { .. } | LeaseEvent::Recovered { .. });
    assert!(recorded.iter().any(|event| is_late(&event)));
    for event in recorded.iter().filter(|event| !is_late(event)).chain(recorded.iter().filter(is_late)) {
        metrics.observe(event);
    }
    let series = otel.series();
    assert!(!series.keys().any(|name| name.starts_with("lease_in_jeopardy")), "{series:#?}");
}

/// Otherwise an election without a leader would have no time series, and no alert.
#[tokio::test(start_paused = true)]
async fn a_candidate_that_only_waits_says_that_it_does_not_lead() {
    let otel = Otel::new();
    let (world, _) = World::new([self::otel(&otel)]);
    let name = "elections/jobs/leader";
    let first = world.rival.acquire(name, TTL).await.unwrap();
    let waiting = tokio::spawn({
        let client = world.client.clone();
        async move { client.acquire(name, TTL).await }
    });
    sleep(SECOND).await;
    let of = |name: &str| otel.series()[&format!("{name}{{lease_group=\"jobs\",lease_store=\"memory\"}}")];
    assert_eq!((of("lease_election_valid_until_seconds"), of("lease_election_leads")), (0.0, 0.0));
    drop(first);
    let lease = waiting.await.unwrap().unwrap();
    let leads =
        LeaseEvent::election(name.parse().unwrap(), lease.holder().clone(), lease.token(), ElectionChange::Leads);
    world.client.report(leads);
    let until = of("lease_election_valid_until_seconds");
    // Another candidate of this process that waits changes nothing.
    assert!(world.client.acquire(name, LeaseOptions::new(TTL).with_wait_limit(SECOND)).await.is_err());
    assert_eq!((of("lease_election_valid_until_seconds"), of("lease_election_leads")), (until, 1.0));
}

/// A renewal whose answer is overdue is reported again when it has ended.
#[tokio::test(start_paused = true)]
async fn an_overdue_renewal_is_counted_when_it_ends() {
    let otel = Otel::new();
    let (world, events) = World::new([self::otel(&otel)]);
    // Both are renewed by one call, which is cut off at the later of the two timeouts.
    let options = |timeout| LeaseOptions::new(TTL).with_renewal_interval(SECOND * 4).with_attempt_timeout(timeout);
    let short = world.client.acquire("orders/short", options(SECOND * 11 / 10)).await.unwrap();
    let long = world.client.acquire("orders/long", options(SECOND * 2)).await.unwrap();
    world.chaos.freeze();
    sleep(SECOND * 10).await;
    let reported = |overdue| {
        let events = events.0.lock().unwrap();
        let is_it = |event: &&LeaseEvent| matches!(event, LeaseEvent::RenewalFailed { is_overdue, .. } if *is_overdue == overdue);
        events.iter().filter(is_it).count() as f64
    };
    assert!(reported(true) > 0.0 && reported(false) > 1.0);
    let failed = "{error_type=\"indeterminate\",lease_group=\"orders\",lease_store=\"memory\",outcome=\"failed\"}";
    assert_eq!(otel.series()[&format!("lease_renewals_total{failed}")], reported(false));
    drop((short, long));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_term_does_not_hide_the_next_leader_of_the_process() {
    let otel = Otel::new();
    let (world, _) = World::new([self::otel(&otel)]);
    let name = "elections/jobs/leader";
    let report = |lease: &Lease, change| {
        let event = LeaseEvent::election(lease.name().clone(), lease.holder().clone(), lease.token(), change);
        world.client.report(event);
    };
    let ended = |reason: LossReason| ElectionChange::Ended { reason, led_for: SECOND };
    let first = world.client.acquire(name, TTL).await.unwrap();
    report(&first, ElectionChange::Leads);
    world.rival.break_lease(name, first.token(), Break::Now).await.unwrap();
    let second = world.client.acquire(name, TTL).await.unwrap();
    report(&second, ElectionChange::Leads);
    report(&first, ended(LossReason::Broken));
    let series = otel.series();
    let of = |name: &str| series[&format!("{name}{{lease_group=\"jobs\",lease_store=\"memory\"}}")];
    assert!(of("lease_election_valid_until_seconds") > 0.0);
    assert_eq!(of("lease_election_leads"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn clones_with_stores_of_their_own_share_the_instruments() {
    let otel = Otel::new();
    let metrics = self::otel(&otel).with_groups(Groups::none());
    let (one, _) = World::new([metrics.clone()]);
    let (other, _) = World::new([metrics.with_store("redis")]);
    // The same name and token in both.
    let first = one.client.acquire("orders/1", TTL).await.unwrap();
    let second = other.client.acquire("orders/1", TTL).await.unwrap();
    assert_eq!(first.token(), second.token());
    first.release().await.unwrap();
    let series = otel.series();
    assert_eq!(series["lease_held{lease_store=\"memory\"}"], 0.0);
    assert_eq!(series["lease_held{lease_store=\"redis\"}"], 1.0);
    drop(second);
}

/// A lease of one client does not replace that of another one, whose store has the same label, name and token.
#[tokio::test(start_paused = true)]
async fn clones_of_one_label_count_each_lease() {
    let otel = Otel::new();
    let metrics = self::otel(&otel).with_groups(Groups::none());
    let (one, _) = World::new([metrics.clone()]);
    let (other, _) = World::new([metrics]);
    let first = one.client.acquire("orders/1", TTL).await.unwrap();
    let second = other.client.acquire("orders/1", TTL).await.unwrap();
    assert_eq!(first.token(), second.token());
    let of = |name: &str| otel.series()[&format!("{name}{{lease_store=\"memory\"}}")];
    assert_eq!(of("lease_held"), 2.0);
    one.chaos.freeze();
    sleep(TTL * 2 / 3).await;
    assert_eq!(of("lease_in_jeopardy"), 1.0);
    drop(second);
    assert_eq!((of("lease_held"), of("lease_in_jeopardy")), (1.0, 1.0));
    drop(first);
    assert_eq!((of("lease_held"), of("lease_in_jeopardy")), (0.0, 0.0));
}
