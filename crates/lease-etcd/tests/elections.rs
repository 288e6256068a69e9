//! Elections over etcd.

mod harness;

lease_testkit::elections!(real, harness::EtcdHarness::start);
