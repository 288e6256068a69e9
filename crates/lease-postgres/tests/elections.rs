//! Elections over PostgreSQL.

mod harness;

lease_testkit::elections!(real, harness::PostgresHarness::start);
