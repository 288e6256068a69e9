//! Metrics of leases and elections.
//!
//! [`LeaseMetrics`] is an observer of a [`LeaseClient`](lease_core::LeaseClient). It measures by the instruments of an OpenTelemetry
//! meter (feature `otel`, the API only), or by the recorder of the `metrics` crate (feature `metrics`). Neither is a default.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use lease_core::LeaseClient;
//! use lease_memory::MemoryStore;
//! use lease_metrics::{Groups, LeaseMetrics};
//!
//! let meter = opentelemetry::global::meter("lease");
//! let metrics = LeaseMetrics::otel(&meter).with_groups(Groups::up_to('/')).with_store("memory");
//! let client = LeaseClient::builder(MemoryStore::new()).observer(metrics).build();
//! # let _ = client;
//! # });
//! ```
//!
//! # What is measured
//!
//! Each call of an application, each attempt, each renewal and each release is counted once, when it has ended, with its outcome. A
//! renewal whose answer is overdue has not ended. A lease counts as held, or in jeopardy, from its grant to its loss; an event that comes
//! after the loss changes nothing. The README has the table of instruments. `error.type` is
//! [`ErrorKind::as_str`](lease_core::ErrorKind::as_str), `reason` [`LossReason::as_str`](lease_core::LossReason::as_str).
//!
//! # What it costs
//!
//! Nothing is allocated for an event of a group that is known. The number of time series is bounded: see [`Groups`].

#![cfg_attr(
    not(all(feature = "otel", feature = "metrics")),
    allow(dead_code, reason = "the way that is left out has its part in what both share")
)]

mod attributes;
#[cfg(feature = "metrics")]
mod facade;
mod groups;
mod held;
mod instrument;
mod lease_metrics;
#[cfg(feature = "otel")]
mod otel;
mod sink;
#[cfg(feature = "otel")]
mod trace;

pub use groups::Groups;
pub use instrument::histogram_boundaries;
pub use lease_metrics::LeaseMetrics;
#[cfg(feature = "otel")]
pub use trace::correlation_of_current_trace;

// The code of the README is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
