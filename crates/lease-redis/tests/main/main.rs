//! What the conformance suite does not show: scripts, faults, rights and clusters, on real servers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod answers;
mod bad_input;
mod cluster;
mod cluster_redirections;
mod common;
mod demotion;
mod failover;
mod faults;
mod fence;
mod index;
mod notifications;
mod runtimes;
mod scripts;
mod silent_server;
mod tls;
mod upgrade;
