//! Elections over Cosmos DB.

lease_testkit::elections!(real, crate::harness::CosmosHarness::start);
