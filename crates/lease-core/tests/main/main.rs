//! The client, on a store in memory that a test puts into trouble.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod batching;
mod cancelling;
mod closing;
mod deadline;
mod errors;
mod events;
mod health;
mod panics;
mod renewing;
mod retrying;
mod runtimes;
mod scopes;
mod spans;
mod support;
mod waiting;
