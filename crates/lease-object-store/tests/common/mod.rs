//! The harness, and helpers of the tests.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses a part of it; a test that cannot go on fails"
)]

mod harness;
mod place;
mod racing;
mod services;

use std::time::Duration;

pub use harness::Fake;
pub use place::{Place, request};
pub use racing::race;
pub use services::{Amazon, Azure, Google, SECRET, Service};

/// A ttl that is longer than any test.
pub const LONG: Duration = Duration::from_secs(300);

/// Asserts that an error is of this kind, says this, and prints no secret.
pub fn assert_error(error: &lease_core::Error, kind: lease_core::ErrorKind, says: &str) {
    let printed = format!("{error} {error:?}");
    assert!(error.kind() == kind && printed.contains(says), "{printed}");
    assert!(!printed.contains(SECRET) && !printed.contains("hunter2"), "{printed}");
}
