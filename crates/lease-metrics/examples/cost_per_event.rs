//! Prints what an event costs, by both ways: `cargo run --release -p lease-metrics --example cost_per_event --all-features`.
#![allow(clippy::unwrap_used, reason = "a program to measure with")]
#![allow(clippy::disallowed_methods, reason = "it measures itself, not leases")]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lease_core::{LeaseClient, LeaseEvent, Observer};
use lease_memory::MemoryStore;
use lease_metrics::{Groups, LeaseMetrics, histogram_boundaries};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

const ROUNDS: u32 = 100_000;

#[derive(Debug, Clone, Default)]
struct Recorded(Arc<Mutex<Vec<LeaseEvent>>>);

impl Observer for Recorded {
    fn observe(&self, event: &LeaseEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

#[tokio::main]
async fn main() {
    let recorded = Recorded::default();
    let client = LeaseClient::builder(MemoryStore::new()).observer(recorded.clone()).build();
    let lease = client.acquire("orders/17", Duration::from_secs(30)).await.unwrap();
    lease.renew().await.unwrap();
    lease.release().await.unwrap();
    let events = std::mem::take(&mut *recorded.0.lock().unwrap());

    let reader = PeriodicReader::builder(InMemoryMetricExporter::default()).with_interval(Duration::from_secs(3600));
    let provider = SdkMeterProvider::builder().with_reader(reader.build()).build();
    let mut exporter = PrometheusBuilder::new().with_recommended_naming(true);
    for (name, boundaries) in histogram_boundaries() {
        exporter = exporter.set_buckets_for_metric(Matcher::Full(name.to_owned()), boundaries).unwrap();
    }
    let recorder = exporter.build_recorder();
    let page = recorder.handle();
    metrics::set_global_recorder(recorder).unwrap();

    for (way, observer) in [
        ("OpenTelemetry SDK", LeaseMetrics::otel(&provider.meter("lease"))),
        ("Prometheus exporter of the facade", LeaseMetrics::facade()),
    ] {
        let observer = observer.with_groups(Groups::up_to('/')).with_store("memory");
        let mut rounds: Vec<_> = (0..11)
            .map(|_| {
                let began = Instant::now();
                for _ in 0..ROUNDS / 11 {
                    events.iter().for_each(|event| observer.observe(event));
                }
                let took = began.elapsed();
                // The exporter keeps every value until the next scrape.
                page.run_upkeep();
                took
            })
            .collect();
        rounds.sort();
        let per_event = rounds[5] / (ROUNDS / 11 * u32::try_from(events.len()).unwrap());
        println!("{way}: {} ns per event, of {} events", per_event.as_nanos(), events.len());
    }
}
