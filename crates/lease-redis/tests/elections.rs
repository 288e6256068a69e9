//! Elections over Redis.

mod harness;

lease_testkit::elections!(real, harness::RedisHarness::start);
