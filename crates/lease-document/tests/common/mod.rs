//! The test bed: documents in memory, behind a network and a clock that do harm.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod bed;
mod documents;
mod harness;

pub use bed::{Bed, Request};
pub use documents::{MemoryDocuments, Variant};
pub use harness::BedHarness;
