//! The harness itself: what it says it does to a Consul server, it does.
#![allow(clippy::unwrap_used, reason = "a test")]

use integration_tests::{Consul, Proxy, ServerError, eventually, http_request};

async fn put(consul: &Consul, value: &str) -> Result<String, ServerError> {
    http_request(&consul.url_at(consul.address()?), "PUT", "/v1/kv/key", &[], value).await
}

async fn get(consul: &Consul) -> Result<String, ServerError> {
    http_request(consul.url(), "GET", "/v1/kv/key?raw&consistent", &[], "").await
}

#[tokio::test]
async fn it_is_frozen_killed_and_restarted_and_keeps_its_keys() {
    let consul = Consul::start_local(&[]).await.unwrap();
    assert!(put(&consul, "value").await.unwrap().ends_with("true"));
    consul.freeze().await.unwrap();
    assert!(get(&consul).await.is_err());
    consul.thaw().await.unwrap();
    assert!(get(&consul).await.unwrap().ends_with("value"));
    consul.kill().await.unwrap();
    assert!(get(&consul).await.is_err());
    consul.start_again().await.unwrap();
    assert!(get(&consul).await.unwrap().ends_with("value"));
    consul.restart().await.unwrap();
    assert!(get(&consul).await.unwrap().ends_with("value"));
}

#[tokio::test]
async fn the_shared_one_refuses_harm_and_a_proxy_cuts_it() {
    let consul = Consul::shared().await;
    assert!(matches!(consul.freeze().await, Err(ServerError::Cannot { .. })));
    let proxy = Proxy::start(consul.address().unwrap()).await.unwrap();
    let leader = async || http_request(&consul.url_through(&proxy), "GET", "/v1/status/leader", &[], "").await;
    assert!(leader().await.unwrap().contains("127.0.0.1"));
    proxy.refuse_connections();
    assert!(leader().await.is_err());
}

#[tokio::test]
async fn a_setting_reaches_the_server() {
    let acl = r#"{ enabled = true, default_policy = "deny", tokens { master = "root" } }"#;
    let consul = Consul::start_local(&[("acl", acl)]).await.unwrap();
    // It has rules only some time after it has a leader.
    eventually("it denies", async || put(&consul, "value").await.is_ok_and(|it| it.contains("Permission denied")))
        .await;
    assert!(Consul::start_local(&[("no_such_setting", "1")]).await.is_err());
}
