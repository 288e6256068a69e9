//! The harness of Cosmos DB.
#![allow(dead_code, clippy::unwrap_used, reason = "each binary uses a part of it; a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use integration_tests::{Cosmos, CosmosKind, Provider, ServerHarness, http_request};
use lease_core::{ExpiryJudge, GrantId, LeaseName, LeaseStore};
use lease_cosmos::CosmosStoreOptions;
use lease_document::escape;

/// The key that every emulator of the vendor has. This one takes any.
pub(crate) const KEY: &str = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==";

/// The clock of the emulator judges expiry.
pub(crate) type CosmosHarness = ServerHarness<Container<true>>;

/// Contenders judge expiry.
pub(crate) type ContendersHarness = ServerHarness<Container<false>>;

/// Keeps leases in the container `leases` of a database of its own.
pub(crate) struct Container<const CLOCK: bool> {
    database: String,
    options: CosmosStoreOptions,
}

/// Creates a database with a container that has this description, and returns the id of the database.
pub(crate) async fn database(url: &str, container: &str) -> String {
    let database = format!("test-{}", GrantId::random());
    let created = http_request(url, "POST", "/dbs", &[], &format!(r#"{{"id":"{database}"}}"#)).await.unwrap();
    assert!(created.contains("201"), "{created}");
    let created = http_request(url, "POST", &format!("/dbs/{database}/colls"), &[], container).await.unwrap();
    assert!(created.contains("201"), "{created}");
    database
}

pub(crate) const LEASES: &str = r#"{"id":"leases","partitionKey":{"paths":["/id"],"kind":"Hash"}}"#;

#[async_trait]
impl<const CLOCK: bool> Provider for Container<CLOCK> {
    type Kind = CosmosKind;

    /// What is known of a clock of seconds is as wide as a second, at first.
    const TTL: Duration = Duration::from_secs(4);

    async fn prepare(server: &Cosmos) -> Self {
        // One server answers.
        let slack = Duration::from_millis(100);
        let judge = if CLOCK { ExpiryJudge::ServersWallClocks { slack } } else { ExpiryJudge::Contenders };
        let poll_interval = Duration::from_secs(1);
        let options =
            CosmosStoreOptions::new().with_key(KEY).with_expiry_judge(judge).with_poll_interval(poll_interval);
        Self { database: database(server.url(), LEASES).await, options }
    }

    async fn open(&self, url: &str) -> Arc<dyn LeaseStore> {
        Arc::new(self.options.connect(url, &self.database, "leases").await.unwrap())
    }

    async fn remove_record(&self, server: &Cosmos, name: &LeaseName) {
        let id = escape(name);
        let path = format!("/dbs/{}/colls/leases/docs/{id}", self.database);
        let partition = format!(r#"["{id}"]"#);
        let headers = [("x-ms-documentdb-partitionkey", partition.as_str())];
        assert!(http_request(server.url(), "DELETE", &path, &headers, "").await.unwrap().contains("204"));
    }
}
