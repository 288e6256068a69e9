//! The conformance suite, with a real server that is frozen, cut off and restarted.

mod harness;

lease_testkit::conformance!(real, harness::RedisHarness::start);
