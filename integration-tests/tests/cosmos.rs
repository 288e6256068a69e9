//! The harness itself: what it says it does to an emulator of Cosmos DB, it does.
#![allow(clippy::unwrap_used, reason = "a test")]

use integration_tests::{Cosmos, Proxy, ServerError, http_request};

async fn post(cosmos: &Cosmos, path: &str, content: &str) -> String {
    let partition = ("x-ms-documentdb-partitionkey", r#"["job"]"#);
    http_request(cosmos.url(), "POST", path, &[partition], content).await.unwrap()
}

async fn get(url: &str) -> Result<String, ServerError> {
    let partition = ("x-ms-documentdb-partitionkey", r#"["job"]"#);
    http_request(url, "GET", "/dbs/d/colls/l/docs/job", &[partition], "").await
}

fn etag(answer: &str) -> String {
    answer.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test]
async fn it_is_frozen_killed_and_restarted_and_keeps_its_documents() {
    let cosmos = Cosmos::start_local(&[]).await.unwrap();
    assert!(post(&cosmos, "/dbs", r#"{"id":"d"}"#).await.contains("201"));
    post(&cosmos, "/dbs/d/colls", r#"{"id":"l","partitionKey":{"paths":["/id"],"kind":"Hash"}}"#).await;
    let created = etag(&post(&cosmos, "/dbs/d/colls/l/docs", r#"{"id":"job","value":1}"#).await);
    cosmos.freeze().await.unwrap();
    assert!(get(cosmos.url()).await.is_err());
    cosmos.thaw().await.unwrap();
    assert_eq!(etag(&get(cosmos.url()).await.unwrap()), created);
    cosmos.kill().await.unwrap();
    assert!(get(cosmos.url()).await.is_err());
    cosmos.start_again().await.unwrap();
    assert_eq!(etag(&get(cosmos.url()).await.unwrap()), created);
    cosmos.restart().await.unwrap();
    assert_eq!(etag(&get(cosmos.url()).await.unwrap()), created);
    assert!(post(&cosmos, "/dbs/d/colls/l/docs", r#"{"id":"job","value":2}"#).await.contains("409 "));
    let proxy = Proxy::start(cosmos.address().unwrap()).await.unwrap();
    assert!(get(&cosmos.url_through(&proxy)).await.is_ok());
    proxy.refuse_connections();
    assert!(get(&cosmos.url_through(&proxy)).await.is_err());
}

#[tokio::test]
async fn the_shared_one_refuses_harm() {
    assert!(matches!(Cosmos::shared().await.freeze().await, Err(ServerError::Cannot { .. })));
}
