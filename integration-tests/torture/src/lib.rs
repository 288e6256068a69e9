//! The torture test: worker processes contend for leases of a real store, a fenced resource checks their tokens, and a nemesis
//! injects faults from a printed seed. Each process records its observations; a checker judges the record afterwards.
//!
//! ```console
//! $ torture run --store redis --fault worker-frozen
//! ```

mod campaigner;
pub mod case;
pub mod check;
mod child;
mod count;
mod fault;
mod gauges;
mod log;
mod nemesis;
mod open;
pub mod picture;
mod process;
pub mod race;
pub mod record;
pub mod report;
pub mod resource;
mod server;
mod tenure;
mod wall_clock;
pub mod worker;
mod worker_store;
mod writer;

use std::time::Duration;

use lease_core::{Clock, SystemClock};

pub use fault::{Fault, Store};

/// Pauses for this time.
async fn pause(length: Duration) {
    SystemClock.sleep_until(SystemClock.now() + length).await;
}
