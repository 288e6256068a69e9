//! One request through two processes: its id is in all their spans of leases, and whoever is blocked sees it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{path::Path, time::Duration};

use lease_core::{Correlation, LeaseClient, LeaseOptions};
use lease_metrics::correlation_of_current_trace;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use tracing::{Instrument, info_span, subscriber::DefaultGuard};
use tracing_subscriber::layer::SubscriberExt;

const TTL: Duration = Duration::from_secs(30);

fn traced() -> (InMemorySpanExporter, SdkTracerProvider, DefaultGuard) {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    (exporter, provider, guard)
}

/// Returns the spans of leases as lines: the name, the lease, and the id of the request.
fn lines(exporter: &InMemorySpanExporter) -> Vec<String> {
    let mut lines = Vec::new();
    for span in exporter.get_finished_spans().unwrap() {
        let get = |key: &str| {
            let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
            found.map_or_else(|| "-".to_owned(), |attribute| attribute.value.to_string())
        };
        if get("lease.name") != "-" {
            lines.push(format!("span {} {} {}", span.name, get("lease.name"), get("correlation.id")));
        }
    }
    lines
}

async fn client(directory: &Path) -> LeaseClient {
    LeaseClient::new(lease_file::open(directory).await.unwrap())
}

/// The first process: a request arrives, takes a lease, and goes on in the second process.
#[tokio::test]
async fn one_request_is_found_in_the_spans_of_two_processes() {
    let directory = tempfile::tempdir().unwrap();
    let (exporter, _provider, _guard) = traced();
    let request = info_span!("request");
    let (id, child) = async {
        assert_eq!(correlation_of_current_trace().map(|id| id.as_str().len()), Some(32));
        let id = correlation_of_current_trace().unwrap();
        let options = LeaseOptions::new(TTL).with_correlation(id.clone());
        let client = client(directory.path()).await;
        let lease = client.acquire("order-1", options).await.unwrap();

        let child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "goes_on_with_the_request_of_the_environment", "--nocapture"])
            .env("LEASE_REQUEST", id.as_str())
            .env("LEASE_DIRECTORY", directory.path())
            .output()
            .await
            .unwrap();
        lease.release().await.unwrap();
        client.close().await.unwrap();
        (id, child)
    }
    .instrument(request)
    .await;

    let text = String::from_utf8(child.stdout).unwrap();
    assert!(child.status.success(), "{text}\n{}", String::from_utf8_lossy(&child.stderr));
    assert!(text.contains(&format!("blocked by the request {id}")), "{text}");
    let child = text.lines().filter_map(|line| line.find("span ").map(|at| line[at..].to_owned()));
    let spans: Vec<_> = lines(&exporter).into_iter().chain(child).collect();
    for name in ["order-1", "order-1/stock"] {
        let of_lease: Vec<_> = spans.iter().filter(|span| span.contains(&format!(" {name} "))).collect();
        assert!(of_lease.len() >= 3, "an acquire, a hold, a release: {spans:?}");
    }
    assert!(spans.iter().all(|span| span.ends_with(id.as_str())), "{spans:?}");
}

/// The second process, part of the test before.
#[tokio::test]
async fn goes_on_with_the_request_of_the_environment() {
    let Some(id) = std::env::var_os("LEASE_REQUEST") else { return };
    let directory = std::env::var_os("LEASE_DIRECTORY").unwrap();
    let client = client(Path::new(&directory)).await;
    // An inspection belongs to no request.
    let by = client.inspect("order-1").await.unwrap().unwrap();
    let (exporter, _provider, _guard) = traced();
    println!("\nblocked by the request {}", by.metadata.get(Correlation::METADATA_KEY).unwrap());

    let options = LeaseOptions::new(TTL).with_correlation(Correlation::new(id.to_str().unwrap()).unwrap());
    let blocked = client.try_acquire("order-1", options.clone()).await.unwrap();
    assert!(blocked.acquired().is_none());
    client.acquire("order-1/stock", options).await.unwrap().release().await.unwrap();
    client.close().await.unwrap();
    for line in lines(&exporter) {
        println!("{line}");
    }
}

#[test]
fn outside_of_a_trace_there_is_none() {
    assert_eq!(correlation_of_current_trace(), None);
}
