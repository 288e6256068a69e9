//! Consul is opened by its URL.
#![cfg(feature = "consul")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::excludes;
use lease_core::ErrorKind;
use lease_url::open;

#[tokio::test]
async fn consul() {
    let address = integration_tests::Consul::shared().await.address().unwrap();
    let url = format!("consul://{address}/lease-url/open");
    excludes(&url, &format!("{url}/")).await;
    // The default prefix is another one.
    excludes(&format!("consul://{address}"), &format!("consul://{address}/app-runtime-leases")).await;
    for url in ["consul:", "consul://", "consul:///leases", "consul://user:secret@host:1", "consul://host?secret"] {
        let error = open(url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
