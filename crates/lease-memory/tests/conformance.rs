//! The reference store keeps every promise.

mod common;

mod paused {
    lease_testkit::conformance!(paused, super::common::MemoryHarness::paused);
}

/// In real time too: the cases must not rest on paused time.
mod real {
    lease_testkit::conformance!(real, super::common::MemoryHarness::real);
}
