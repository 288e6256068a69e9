//! What the conformance suite does not show: statements, faults and rights, on real servers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_input;
mod common;
mod connections;
mod contract_clients;
mod failover;
mod faults;
mod fence;
mod lock_order;
mod migrate;
mod notifications;
mod previous;
mod statements;
mod tls;
