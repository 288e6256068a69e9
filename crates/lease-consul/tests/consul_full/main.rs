//! Where the clock of the server is trusted to judge expiry, and a cluster of three.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cluster;
#[path = "../consul/harness.rs"]
mod harness;

lease_testkit::conformance!(real, crate::harness::ClockHarness::start);

mod elections {
    lease_testkit::elections!(real, crate::harness::ClockHarness::start);
}
