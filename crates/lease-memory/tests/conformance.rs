//! The reference store keeps every promise.

mod common;

mod paused {
    use super::common::MemoryHarness;

    lease_testkit::conformance!(paused, MemoryHarness::paused);
}

/// In real time as well: no case may depend on paused time.
mod real {
    use super::common::MemoryHarness;

    lease_testkit::conformance!(real, MemoryHarness::real);
}
