//! The services that the fake plays.

use std::time::Duration;

use integration_tests::{ObjectStorage, http_request};
use lease_object_store::{ObjectLeaseStore, ObjectLeaseStoreOptions};

/// What must never be printed. It is base64, because Azure's keys are.
pub const SECRET: &str = "aHVudGVyMi1odW50ZXIy";

/// How a service is connected to.
pub trait Service: Send + Sync + 'static {
    const SCHEME: &'static str;

    /// The ttl of the suites. The clock has whole seconds.
    const TTL: Duration = Duration::from_secs(4);

    /// The path of a bucket in requests.
    fn path(bucket: &str) -> String {
        format!("/{bucket}")
    }

    /// Headers by which the fake knows the service.
    const HEADERS: &'static [(&'static str, &'static str)] = &[];

    /// Options for a server with this URL.
    fn options(url: &str) -> ObjectLeaseStoreOptions;

    /// Creates a bucket.
    #[allow(async_fn_in_trait, reason = "only tests implement it")]
    async fn create(server: &ObjectStorage, bucket: &str) {
        let answer = http_request(server.url(), "PUT", &Self::path(bucket), Self::HEADERS, "").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    }
}

#[derive(Debug)]
pub struct Amazon;
#[derive(Debug)]
pub struct Azure;
#[derive(Debug)]
pub struct Google;

impl Service for Amazon {
    const SCHEME: &'static str = "s3";

    fn options(url: &str) -> ObjectLeaseStoreOptions {
        ObjectLeaseStoreOptions::new()
            .with_option("endpoint", url)
            .with_option("allow_http", "true")
            .with_option("access_key_id", ObjectStorage::ACCESS_KEY)
            .with_option("secret_access_key", SECRET)
    }
}

impl Service for Azure {
    const SCHEME: &'static str = "az";
    const HEADERS: &'static [(&'static str, &'static str)] = &[("x-ms-version", "2023-11-03")];

    fn path(bucket: &str) -> String {
        format!("/account/{bucket}")
    }

    fn options(url: &str) -> ObjectLeaseStoreOptions {
        ObjectLeaseStoreOptions::new()
            .with_option("endpoint", format!("{}/account", url.trim_end_matches('/')))
            .with_option("allow_http", "true")
            .with_option("account_name", "account")
            .with_option("access_key", SECRET)
    }
}

impl Service for Google {
    const SCHEME: &'static str = "gs";
    /// Above Google's smallest.
    const TTL: Duration = Duration::from_secs(6);

    fn options(url: &str) -> ObjectLeaseStoreOptions {
        ObjectLeaseStoreOptions::new()
            .with_option("base_url", url.trim_end_matches('/'))
            .with_option("bearer_token", SECRET)
    }
}
