//! Elections over the reference store.

mod common;

mod paused {
    lease_testkit::elections!(paused, super::common::MemoryHarness::paused);
}

/// In real time as well: no case may depend on paused time.
mod real {
    lease_testkit::elections!(real, super::common::MemoryHarness::real);
}
