//! The harness itself: what it says it does to Azurite, it does.
#![allow(clippy::unwrap_used, reason = "a test")]

use integration_tests::{Azurite, Proxy, ServerError, http_request};

async fn ask(url: &str) -> Result<String, ServerError> {
    http_request(url, "GET", "/devstoreaccount1/container/blob", &[], "").await
}

#[tokio::test]
async fn it_is_frozen_killed_and_restarted() {
    let azurite = Azurite::start_local(&[]).await.unwrap();
    let url = azurite.url().to_owned();
    azurite.freeze().await.unwrap();
    assert!(ask(&url).await.is_err());
    azurite.thaw().await.unwrap();
    assert!(ask(&url).await.unwrap().contains("Azurite-Blob"));
    azurite.kill().await.unwrap();
    assert!(ask(&url).await.is_err());
    azurite.start_again().await.unwrap();
    azurite.restart().await.unwrap();
    assert!(ask(&url).await.unwrap().contains("Azurite-Blob"));
    let proxy = Proxy::start(azurite.address().unwrap()).await.unwrap();
    assert!(ask(&azurite.url_through(&proxy)).await.is_ok());
    proxy.refuse_connections();
    assert!(ask(&azurite.url_through(&proxy)).await.is_err());
}

#[tokio::test]
async fn the_shared_one_refuses_harm() {
    assert!(matches!(Azurite::shared().await.freeze().await, Err(ServerError::Cannot { .. })));
}
