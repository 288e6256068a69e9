//! The torture test: worker processes contend for leases through a real store, a fenced resource watches their tokens,
//! and a nemesis does harm from a printed seed. Everybody writes down what they saw; a checker judges it afterwards.
//!
//! ```console
//! $ torture run --store redis --fault worker-frozen
//! ```

mod belief;
mod campaigner;
pub mod case;
pub mod check;
mod child;
mod count;
mod fault;
mod log;
mod nemesis;
pub mod picture;
mod process;
pub mod record;
pub mod report;
pub mod resource;
mod server;
mod wall_clock;
pub mod worker;
mod worker_store;
mod writer;

use std::time::Duration;

use lease_core::{Clock, SystemClock};

pub use fault::{Fault, Store};

/// Pauses for so long.
async fn pause(length: Duration) {
    SystemClock.sleep_until(SystemClock.now() + length).await;
}
