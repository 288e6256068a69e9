//! The tests of the store, against an emulator of Cosmos DB.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_input;
mod clocks;
mod common;
mod conformance;
mod elections;
mod harness;
mod listing;
mod races;
mod requests;
