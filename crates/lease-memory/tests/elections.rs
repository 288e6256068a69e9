//! Elections over the reference store.

mod common;

mod paused {
    lease_testkit::elections!(paused, super::common::MemoryHarness::paused);
}

/// In real time too: the cases must not rest on paused time.
mod real {
    lease_testkit::elections!(real, super::common::MemoryHarness::real);
}
