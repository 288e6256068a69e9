//! The harness of the suites, on the fake.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use async_trait::async_trait;
use integration_tests::{ObjectStorage, ObjectStorageKind, Provider, http_request};
use lease_core::{ExpiryJudge, GrantId, LeaseName, LeaseStore};

use super::Service;

/// A bucket of its own for each case.
pub struct Fake<S> {
    bucket: String,
    service: PhantomData<S>,
}

#[async_trait]
impl<S: Service> Provider for Fake<S> {
    type Kind = ObjectStorageKind;

    const TTL: Duration = S::TTL;

    async fn prepare(server: &ObjectStorage) -> Self {
        let bucket = format!("bucket-{}", GrantId::random());
        let created = http_request(server.url(), "PUT", &S::path(&bucket), S::HEADERS, "").await.unwrap();
        assert!(created.starts_with("HTTP/1.1 20"), "{created}");
        Self { bucket, service: PhantomData }
    }

    async fn open(&self, url: &str) -> Arc<dyn LeaseStore> {
        let options = S::options(url)
            // One server answers.
            .with_expiry_judge(ExpiryJudge::ServersWallClocks { slack: Duration::ZERO })
            .with_poll_interval(Duration::from_secs(1));
        Arc::new(options.connect(&format!("{}://{}/leases", S::SCHEME, self.bucket)).await.unwrap())
    }

    async fn remove_record(&self, server: &ObjectStorage, name: &LeaseName) {
        let path = format!("{}/leases/{}", S::path(&self.bucket), lease_document::escape(name));
        let answer = http_request(server.url(), "DELETE", &path, S::HEADERS, "").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    }
}
