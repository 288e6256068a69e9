//! What the conformance suite does not show: requests, foreign documents, and the counter-examples to simpler designs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod foreign;
mod hints;
mod many;
mod requests;
mod soundness;
mod watching;
