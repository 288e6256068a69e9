//! What proves a lease store.
mod bench;
#[doc(hidden)]
pub mod cases;
mod chaos;
mod conformance;
mod dice;
mod fault;
mod harness;
mod history;
mod operation;
mod recording;
#[doc(hidden)]
pub mod run;
mod skewed_clock;

pub use bench::Bench;
pub use chaos::{ChaosStore, Hints};
pub use conformance::CASES;
pub use dice::Dice;
pub use fault::{Fault, Rule};
pub use harness::{AfterWaiting, AtOnce, Harm, Harness, MakeHarness};
pub use history::{History, OpenTenure, Tenure, Violation};
pub use operation::Operation;
pub use recording::{Call, Outcome, Progress, RecordingStore};
pub use skewed_clock::SkewedClock;
