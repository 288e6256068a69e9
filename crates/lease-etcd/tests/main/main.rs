//! What the conformance suite does not show: batches, faults and rights, on real servers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_input;
mod batches;
mod buckets;
mod cluster;
mod common;
mod fence;
mod logins;
mod logs;
mod lost_answers;
mod owners;
mod prefixes;
mod runtimes;
mod security;
mod silent_server;
mod watching;
