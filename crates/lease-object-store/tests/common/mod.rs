//! The harness, and helpers of the tests.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses a part of it; a test that cannot go on fails"
)]

mod harness;
mod services;

pub use harness::Fake;
pub use services::{Amazon, Azure, Google, SECRET, Service};
