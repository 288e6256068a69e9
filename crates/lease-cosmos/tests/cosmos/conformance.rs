//! The conformance suite, against an emulator that is frozen, cut off and restarted.

lease_testkit::conformance!(real, crate::harness::CosmosHarness::start);
