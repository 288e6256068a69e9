//! The tests of the store, against a real Consul server.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_input;
mod clocks;
mod common;
mod conformance;
mod data_loss;
mod elections;
mod harness;
mod listing;
mod races;
mod requests;
mod security;
mod watching;
