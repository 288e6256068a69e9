//! Elections, on a store in memory.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod cancelling;
mod candidates;
mod closing;
mod health;
mod many;
mod panics;
mod reports;
mod streams;
mod support;
