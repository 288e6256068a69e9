//! Leases in a directory: the suites, races between processes, and what operators do to a directory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "the tests wait by tokio's clock")]

mod bad_input;
mod faults;
mod harness;
mod operators;
mod races;

lease_testkit::conformance!(real, harness::DirectoryHarness::start);

mod elections {
    lease_testkit::elections!(real, crate::harness::DirectoryHarness::start);
}
