//! The suites where the clock of the server is trusted to judge expiry.

#[path = "consul/harness.rs"]
mod harness;

lease_testkit::conformance!(real, crate::harness::ClockHarness::start);

mod elections {
    lease_testkit::elections!(real, crate::harness::ClockHarness::start);
}
