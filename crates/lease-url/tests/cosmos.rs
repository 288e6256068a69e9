//! Cosmos DB is opened by its URL.
#![cfg(feature = "cosmos")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::excludes;
use integration_tests::{Cosmos, http_request};
use lease_core::{ErrorKind, GrantId};
use lease_url::open;

#[tokio::test]
async fn cosmos() {
    let cosmos = Cosmos::shared().await;
    let database = format!("test-{}", GrantId::random());
    http_request(cosmos.url(), "POST", "/dbs", &[], &format!(r#"{{"id":"{database}"}}"#)).await.unwrap();
    let container = r#"{"id":"leases","partitionKey":{"paths":["/id"],"kind":"Hash"}}"#;
    http_request(cosmos.url(), "POST", &format!("/dbs/{database}/colls"), &[], container).await.unwrap();
    let url = format!("cosmos+http://:c2Vj%2BmU%3D@{}/{database}/leases", cosmos.address().unwrap());
    excludes(&url, &url).await;
    for url in [
        "cosmos:",
        "cosmos://host/database",
        "cosmos://host/database/container/secret",
        "cosmos://secret@host/database/container",
        "cosmos://:secret@/database/container",
        "cosmos://:secret!@host/database/container",
    ] {
        let error = open(url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
