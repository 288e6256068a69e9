//! Asking a server whether it serves.

use std::net::SocketAddr;

use crate::http;

/// Whether the server at this address has a leader and answers reads.
pub(super) fn is_healthy(address: SocketAddr) -> bool {
    http::get(address, "/health").is_some_and(|answer| answer.contains(r#""health":"true""#))
}

/// How many etcd leases there are.
pub(super) fn count_leases(address: SocketAddr) -> Option<usize> {
    let leases = http::post(address, "/v3/lease/leases", "{}")?;
    leases.contains("\"header\"").then(|| leases.matches("\"ID\"").count())
}
