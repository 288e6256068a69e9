//! The conformance suite, against a server that is frozen, cut off and restarted.

lease_testkit::conformance!(real, crate::harness::ConsulHarness::start);
