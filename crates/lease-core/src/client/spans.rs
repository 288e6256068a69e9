//! The spans of a client, with the attributes of OpenTelemetry's semantic conventions.
//!
//! Calls by applications, holding and waiting are spans of the level `info`; single renewals and looks at the store are `debug`.

use std::future::Future;

use tracing::{Instrument, Span, field::Empty, info_span};

use crate::{Correlation, Error, FencingToken, HolderId, LeaseName, Result, grant::PendingRelease};

/// Runs a call within its span, and records its error.
pub(super) async fn within<T>(span: Span, call: impl Future<Output = Result<T>>) -> Result<T> {
    let result = call.instrument(span.clone()).await;
    if let Err(error) = &result {
        record_error(&span, error);
    }
    result
}

pub(super) fn record_error(span: &Span, error: &Error) {
    span.record("otel.status_code", "ERROR").record("error.type", error.kind().as_str());
}

/// The span of `acquire`, its wait included.
pub(super) fn acquire(name: &LeaseName, holder: &HolderId, correlation: Option<&Correlation>, store: &str) -> Span {
    info_span!(target: "lease", "lease.acquire", otel.kind = "client", otel.status_code = Empty, error.type = Empty, lease.store = store,
        lease.name = %name, lease.holder = %holder, lease.token = Empty, correlation.id = id(correlation))
}

/// The span of `try_acquire`.
pub(super) fn try_acquire(name: &LeaseName, holder: &HolderId, correlation: Option<&Correlation>, store: &str) -> Span {
    info_span!(target: "lease", "lease.try_acquire", otel.kind = "client", otel.status_code = Empty, error.type = Empty,
        lease.store = store, lease.name = %name, lease.holder = %holder, lease.token = Empty, lease.held_by = Empty,
        correlation.id = id(correlation))
}

pub(super) fn release(release: &PendingRelease, store: &str) -> Span {
    let claim = &release.request.claim;
    info_span!(target: "lease", "lease.release", otel.kind = "client", otel.status_code = Empty, error.type = Empty, lease.store = store,
        lease.name = %claim.name, lease.holder = %claim.holder, lease.token = release.token.map(FencingToken::get),
        correlation.id = id(release.correlation.as_ref()))
}

pub(super) fn id(correlation: Option<&Correlation>) -> Option<&str> {
    correlation.map(Correlation::as_str)
}
