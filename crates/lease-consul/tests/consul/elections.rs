//! Elections over Consul.

lease_testkit::elections!(real, crate::harness::ConsulHarness::start);
