//! The suite over each kind of store that a backend can be.

mod common;

use std::time::Duration;

use common::{BedHarness, Variant};
use lease_core::ExpiryJudge;

const SECOND: Duration = Duration::from_secs(1);
const LATENCY: Duration = Duration::from_millis(10);

/// A clock of milliseconds, tokens from versions.
fn milliseconds() -> BedHarness {
    BedHarness::new(Variant::default())
}

mod clock_of_milliseconds {
    lease_testkit::conformance!(paused, crate::milliseconds);
}
