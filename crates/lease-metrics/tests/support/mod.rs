//! A run in which everything happens that is measured, and the measurements as Prometheus has them.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "the clock of the test is that of its paused runtime")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use lease_core::{
    Break, ErrorKind, HolderId, LeaseClient, LeaseEvent, LeaseOptions, Observer, TokioClock, TryAcquired,
};
use lease_election::{CandidateOptions, Election, ElectionOptions};
use lease_memory::MemoryStore;
use lease_metrics::LeaseMetrics;
use lease_testkit::{ChaosStore, Fault, Operation};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
    data::{AggregatedMetrics, Metric, MetricData},
};
use tokio::time::sleep;

pub const TTL: Duration = Duration::from_secs(30);
pub const SECOND: Duration = Duration::from_secs(1);

/// A time series, as `name{key="value",…}`, and its value.
pub type Series = BTreeMap<String, f64>;

#[derive(Debug, Clone, Default)]
pub struct RecordedEvents(pub Arc<Mutex<Vec<LeaseEvent>>>);

impl Observer for RecordedEvents {
    fn observe(&self, event: &LeaseEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

pub struct World {
    pub clock: TokioClock,
    pub store: MemoryStore,
    pub chaos: ChaosStore,
    pub client: LeaseClient,
    pub rival: LeaseClient,
}

impl World {
    /// Creates a client with these observers on a store that can fail, and a rival without any.
    pub fn new(observers: impl IntoIterator<Item = LeaseMetrics>) -> (Self, RecordedEvents) {
        let clock = TokioClock::new();
        let store = MemoryStore::with_clock(clock);
        let chaos = ChaosStore::new(Arc::new(store.clone()), Arc::new(clock), 0);
        let events = RecordedEvents::default();
        let mut client = LeaseClient::builder(chaos.clone()).clock(clock).holder(HolderId::new("a").unwrap());
        for observer in observers {
            client = client.observer(observer);
        }
        let rival = LeaseClient::builder(store.clone()).clock(clock).holder(HolderId::new("b").unwrap()).build();
        (Self { clock, store, chaos, client: client.observer(events.clone()).build(), rival }, events)
    }

    pub async fn everything(&self) {
        let Self { chaos, client, rival, .. } = self;
        let limited = |limit| LeaseOptions::new(TTL).with_wait_limit(limit);
        // Acquired, renewed and released.
        let lease = client.acquire("orders/1", TTL).await.unwrap();
        sleep(TTL).await;
        lease.release().await.unwrap();
        // Held by another one.
        let held = rival.try_acquire("orders/2", TTL).await.unwrap().acquired().unwrap();
        assert!(matches!(client.try_acquire("orders/2", TTL).await, Ok(TryAcquired::Held { .. })));
        client.acquire("orders/2", limited(SECOND)).await.unwrap_err();
        tokio::select! {
            _ = client.acquire("orders/2", TTL) => unreachable!("it is held"),
            () = sleep(SECOND) => {}
        }
        let waiting = tokio::spawn({
            let client = client.clone();
            async move { client.acquire("orders/2", TTL).await }
        });
        sleep(SECOND).await;
        held.release().await.unwrap();
        drop(waiting.await.unwrap().unwrap());
        // The store fails.
        chaos.inject(Fault::Fail(ErrorKind::Unavailable).on(Operation::Acquire).once());
        client.try_acquire("orders/3", TTL).await.unwrap_err();
        // Broken by an administrator.
        let lease = client.try_acquire("billing/4", TTL).await.unwrap().acquired().unwrap();
        rival.break_lease("billing/4", lease.token(), Break::Now).await.unwrap();
        lease.lost().await;
        drop(lease);
        // In jeopardy, out of it, and in it again until the end.
        let lease = client.try_acquire("billing/5", TTL).await.unwrap().acquired().unwrap();
        sleep(SECOND).await;
        chaos.freeze();
        sleep(TTL * 2 / 3).await;
        chaos.thaw();
        sleep(TTL).await;
        assert!(lease.is_held());
        chaos.freeze();
        lease.lost().await;
        chaos.thaw();
        drop(lease);
        // Without a group.
        drop(client.try_acquire("report", TTL).await.unwrap());
        // An election.
        let election = Election::new(client.clone(), "größe 1", ElectionOptions::default()).unwrap();
        let candidate = election.candidate(CandidateOptions::new()).unwrap();
        candidate.wait_for_leadership().await.unwrap();
        sleep(SECOND * 7).await;
        candidate.stop().await.unwrap();
        client.close().await.unwrap();
        sleep(TTL).await;
    }
}

/// The OpenTelemetry SDK, whose measurements are kept in memory.
pub struct Otel {
    pub provider: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
}

impl Otel {
    pub fn new() -> Self {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).with_interval(SECOND * 3600).build();
        Self { provider: SdkMeterProvider::builder().with_reader(reader).build(), exporter }
    }

    /// Returns the time series that Prometheus makes of them when it receives OTLP.
    pub fn series(&self) -> Series {
        self.exporter.reset();
        self.provider.force_flush().unwrap();
        let mut series = Series::new();
        for resource in self.exporter.get_finished_metrics().unwrap() {
            for metric in resource.scope_metrics().flat_map(|scope| scope.metrics()) {
                add_series(metric, &mut series);
            }
        }
        series
    }
}

fn add_series(metric: &Metric, series: &mut Series) {
    let mut name = metric.name().replace('.', "_");
    // Units in braces are left out.
    match metric.unit() {
        "s" => name += "_seconds",
        unit => assert!(unit.is_empty() || unit.starts_with('{'), "{unit}"),
    }
    match metric.data() {
        AggregatedMetrics::U64(MetricData::Sum(sum)) => {
            assert!(sum.is_monotonic());
            for point in sum.data_points() {
                series.insert(format!("{name}_total{}", labels(point.attributes(), None)), point.value() as f64);
            }
        }
        AggregatedMetrics::I64(MetricData::Sum(sum)) => {
            assert!(!sum.is_monotonic());
            for point in sum.data_points() {
                series.insert(format!("{name}{}", labels(point.attributes(), None)), point.value() as f64);
            }
        }
        AggregatedMetrics::F64(MetricData::Gauge(gauge)) => {
            for point in gauge.data_points() {
                series.insert(format!("{name}{}", labels(point.attributes(), None)), point.value());
            }
        }
        AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
            for point in histogram.data_points() {
                let of = |suffix, le: Option<String>| format!("{name}_{suffix}{}", labels(point.attributes(), le));
                series.insert(of("count", None), point.count() as f64);
                series.insert(of("sum", None), point.sum());
                let bounds = point.bounds().map(|bound| bound.to_string()).chain(["+Inf".to_owned()]);
                let mut count = 0;
                for (bound, of_bucket) in bounds.zip(point.bucket_counts()) {
                    count += of_bucket;
                    series.insert(of("bucket", Some(bound)), count as f64);
                }
            }
        }
        other => panic!("{}: {other:?}", metric.name()),
    }
}

fn labels<'a>(attributes: impl Iterator<Item = &'a opentelemetry::KeyValue>, le: Option<String>) -> String {
    let labels = attributes.map(|label| (label.key.as_str().replace('.', "_"), label.value.to_string()));
    in_order(labels.chain(le.map(|le| ("le".to_owned(), le))).collect())
}

fn in_order(mut labels: Vec<(String, String)>) -> String {
    labels.sort();
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
}

/// A Prometheus exporter for the facade, as an application sets it up.
pub fn exporter() -> PrometheusRecorder {
    let mut exporter = PrometheusBuilder::new().with_recommended_naming(true);
    for (name, boundaries) in lease_metrics::histogram_boundaries() {
        exporter = exporter.set_buckets_for_metric(Matcher::Full(name.to_owned()), boundaries).unwrap();
    }
    exporter.build_recorder()
}

/// Returns the time series of an exporter's page.
pub fn series_of(page: &str) -> Series {
    let lines = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parsed = lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let Some((name, labels)) = series.split_once('{') else { return (series.to_owned(), value.parse().unwrap()) };
        let labels = labels.strip_suffix('}').unwrap().split("\",").map(|label| {
            let (key, value) = label.split_once("=\"").unwrap();
            (key.to_owned(), value.trim_end_matches('"').to_owned())
        });
        (format!("{name}{}", in_order(labels.collect())), value.parse().unwrap())
    });
    parsed.collect()
}
