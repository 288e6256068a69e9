//! Leases in ZooKeeper, on one server that is frozen, cut off and restarted: the suites.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_input;
mod common;
mod costs;
mod harness;
mod sessions;
mod versions;

lease_testkit::conformance!(real, harness::ZooKeeperHarness::start);

mod elections {
    lease_testkit::elections!(real, crate::harness::ZooKeeperHarness::start);
}
