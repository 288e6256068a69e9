//! The trace in which a lease is acquired.

use lease_core::Correlation;
use opentelemetry::{Context, trace::TraceContextExt};

/// Returns the id of the current OpenTelemetry trace as a correlation id, or `None` outside of a trace. With it, whoever is blocked
/// by a lease sees the trace in which its holder works.
///
/// With `tracing-opentelemetry`, the current trace is that of the span that is entered, as long as the layer activates its context,
/// which it does by default.
///
/// ```
/// use lease_core::LeaseOptions;
/// # use std::time::Duration;
///
/// let mut options = LeaseOptions::new(Duration::from_secs(30));
/// options.correlation = lease_metrics::correlation_of_current_trace();
/// ```
#[must_use]
pub fn correlation_of_current_trace() -> Option<Correlation> {
    Context::map_current(|context| {
        let span = context.span();
        let trace = span.span_context();
        trace.is_valid().then(|| Correlation::new(trace.trace_id().to_string()).ok()).flatten()
    })
}
