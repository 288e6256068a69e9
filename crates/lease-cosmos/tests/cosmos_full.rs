//! The suites where contenders judge expiry.

#[path = "cosmos/harness.rs"]
mod harness;

lease_testkit::conformance!(real, crate::harness::ContendersHarness::start);

mod elections {
    lease_testkit::elections!(real, crate::harness::ContendersHarness::start);
}
