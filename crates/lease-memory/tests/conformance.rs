//! The reference store keeps every promise.

mod common;

mod paused {
    use super::common::MemoryHarness;

    lease_testkit::conformance!(paused, MemoryHarness::paused);
}

/// In real time too: the cases must not rest on paused time.
mod real {
    use super::common::MemoryHarness;

    lease_testkit::conformance!(real, MemoryHarness::real);
}
