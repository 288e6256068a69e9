//! A service whose leases can be observed: replicas of one election, with `/livez` and `/readyz`, and with metrics that are served
//! at `/metrics`, or pushed over OTLP.
//!
//! HTTP has a runtime of its own, so that a probe is answered even if the application's runtime is blocked: that is what a liveness
//! probe must find out. Run two replicas on one store, and look:
//!
//! ```sh
//! cargo run --example observed_service --features metrics,redis -- --store redis://127.0.0.1/0 --listen 127.0.0.1:9601 &
//! cargo run --example observed_service --features metrics,redis -- --store redis://127.0.0.1/0 --listen 127.0.0.1:9602 &
//! curl -s http://127.0.0.1:9601/metrics | grep lease_election_leads
//! curl -i http://127.0.0.1:9601/livez
//! kill %1
//! ```
//!
//! With `--otlp http://127.0.0.1:9090/api/v1/otlp/v1/metrics` a Prometheus receives the metrics (since 2.47, with
//! `--enable-feature=otlp-write-receiver`; Debian's has no receiver); with the `/v1/metrics` of a collector, the collector does.

use std::{net::SocketAddr, thread, time::Duration};

use anyhow::{Context, Result};
use axum::{Router, extract::State, http::StatusCode, routing::get};
use clap::Parser;
use lease_core::LeaseClient;
use lease_election::{CandidateOptions, Election, ElectionOptions};
use lease_examples::Arguments;
use lease_metrics::{Groups, LeaseMetrics, histogram_boundaries};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::{KeyValue, metrics::MeterProvider};
use opentelemetry_otlp::{MetricExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, metrics::SdkMeterProvider};
use tokio::{
    net::TcpListener,
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::sleep,
};

/// A replica is not ready if the store has not answered for this long.
const READY_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Parser)]
struct Settings {
    #[command(flatten)]
    arguments: Arguments,
    /// The address of HTTP.
    #[arg(long, default_value = "127.0.0.1:9600")]
    listen: SocketAddr,
    /// Pushes the metrics over OTLP to this URL, in place of serving them.
    #[arg(long)]
    otlp: Option<String>,
    /// Blocks the application's runtime for ever after this many seconds, to show what the liveness probe finds.
    #[arg(long)]
    block_after: Option<u64>,
}

/// What the handlers of HTTP share.
#[derive(Clone)]
struct Observed {
    client: LeaseClient,
    metrics: LeaseMetrics,
    page: Option<PrometheusHandle>,
}

fn main() -> Result<()> {
    let settings = Settings::parse();
    let listen = settings.listen;
    // Both before the first measurement.
    let (page, provider) = match &settings.otlp {
        None => (Some(served()?), None),
        Some(url) => (None, Some(pushed(url, listen)?)),
    };
    let metrics = match &provider {
        None => LeaseMetrics::facade(),
        Some(provider) => LeaseMetrics::otel(&provider.meter("lease")),
    };
    let metrics = metrics.with_groups(Groups::up_to('/'));

    let (started, start) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let application = thread::spawn({
        let metrics = metrics.clone();
        move || Builder::new_current_thread().enable_all().build()?.block_on(work(settings, metrics, started, stopped))
    });
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let Ok((client, metrics)) = start.await else { return anyhow::Ok(()) };
        serve(listen, Observed { client, metrics, page }, stop).await
    })?;
    let worked = application.join().map_err(|_| anyhow::anyhow!("the application has panicked"))?;
    // Pushes what was measured since the last time.
    if let Some(Err(error)) = provider.map(|provider| provider.shutdown()) {
        eprintln!("the last metrics were not pushed: {error}");
    }
    worked
}

/// Installs what the page of metrics is made from.
fn served() -> Result<PrometheusHandle> {
    let mut exporter = PrometheusBuilder::new().with_recommended_naming(true);
    for (name, boundaries) in histogram_boundaries() {
        exporter = exporter.set_buckets_for_metric(Matcher::Full(name.to_owned()), boundaries)?;
    }
    Ok(exporter.install_recorder()?)
}

/// Starts to push metrics, every `OTEL_METRIC_EXPORT_INTERVAL` milliseconds; without it, every minute.
fn pushed(url: &str, replica: SocketAddr) -> Result<SdkMeterProvider> {
    let exporter = MetricExporter::builder().with_http().with_endpoint(url).build()?;
    let resource = Resource::builder()
        .with_service_name("observed_service")
        .with_attribute(KeyValue::new("service.instance.id", replica.to_string()));
    Ok(SdkMeterProvider::builder().with_periodic_exporter(exporter).with_resource(resource.build()).build())
}

/// The application: leads when it is elected, and does small jobs under leases in any case.
async fn work(
    settings: Settings,
    metrics: LeaseMetrics,
    started: oneshot::Sender<(LeaseClient, LeaseMetrics)>,
    stopped: oneshot::Receiver<()>,
) -> Result<()> {
    let store = settings.arguments.open().await?;
    let metrics = metrics.with_store(store.capabilities().store);
    let client = LeaseClient::builder(store).observer(metrics.clone()).build();
    let election = Election::new(client.clone(), "dispatcher", ElectionOptions::default())?;
    let candidate = election.candidate(CandidateOptions::new())?;
    let _ = started.send((client.clone(), metrics));

    let leading = candidate.lead(async |term| {
        println!("leading with term {}", term.token());
        term.draining().await;
        println!("stepping down");
    });
    let jobs = async {
        for number in 0_u64.. {
            let job = format!("jobs/{}", number % 5);
            // A job takes a while, and another replica may have it.
            let done = client.try_run(job, Duration::from_secs(5), |_| sleep(Duration::from_millis(200))).await;
            if let Err(error) = done {
                eprintln!("{error}");
            }
            sleep(Duration::from_millis(300)).await;
        }
    };
    let blocking = async {
        match settings.block_after {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
        println!("blocking the runtime");
        loop {
            thread::park();
        }
    };
    tokio::select! {
        () = leading => {}
        () = jobs => {}
        () = blocking => {}
        _ = stopped => {}
    }
    // The leadership is handed back before the process ends, so that another replica leads at once.
    candidate.stop().await?;
    client.close().await?;
    Ok(())
}

/// Serves until SIGTERM or Ctrl-C. The client closes first: the replica is not ready any more, and still answers.
async fn serve(listen: SocketAddr, observed: Observed, stop: oneshot::Sender<()>) -> Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    println!("http://{listen}/metrics, /livez, /readyz");
    let client = observed.client.clone();
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(observed);
    let mut terminate = signal(SignalKind::terminate())?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        println!("closing");
        let _ = stop.send(());
        if tokio::time::timeout(Duration::from_secs(20), client.close()).await.is_err() {
            eprintln!("the application is blocked: its leases expire");
            std::process::exit(1);
        }
    };
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await?;
    Ok(())
}

async fn metrics(State(observed): State<Observed>) -> Result<String, StatusCode> {
    let page = observed.page.ok_or(StatusCode::NOT_FOUND)?;
    observed.metrics.refresh();
    page.run_upkeep();
    Ok(page.render())
}

/// Whether a restart would help.
async fn livez(State(observed): State<Observed>) -> (StatusCode, String) {
    let health = observed.client.health();
    (status(health.is_live()), format!("{health}\n"))
}

/// Whether the replica can do its work now.
async fn readyz(State(observed): State<Observed>) -> (StatusCode, String) {
    let health = observed.client.health();
    (status(health.is_ready(READY_WITHIN)), format!("{health}\n"))
}

fn status(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
