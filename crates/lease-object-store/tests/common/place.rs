//! A server of one test, with one bucket.

use std::{marker::PhantomData, time::Duration};

use integration_tests::{ObjectStorage, http_request};
use lease_core::{AcquireRequest, ExpiryJudge, LeaseName};
use lease_object_store::{ObjectLeaseStore, ObjectLeaseStoreOptions};
use lease_testkit::calls;

use super::Service;

/// A server that plays one service, and has a bucket.
pub struct Place<S> {
    pub server: ObjectStorage,
    service: PhantomData<S>,
}

impl<S: Service> Place<S> {
    pub async fn new() -> Self {
        let place = Self { server: ObjectStorage::start_local(&[]).await.unwrap(), service: PhantomData };
        place.ask("PUT", "", "").await;
        place
    }

    pub fn url() -> String {
        format!("{}://bucket/leases", S::SCHEME)
    }

    /// Options for its only clock.
    pub fn options(&self) -> ObjectLeaseStoreOptions {
        S::options(self.server.url())
            .with_expiry_judge(ExpiryJudge::ServersWallClocks { slack: Duration::ZERO })
            .with_poll_interval(Duration::from_secs(1))
    }

    pub async fn store(&self) -> ObjectLeaseStore {
        self.options().connect(&Self::url()).await.unwrap()
    }

    /// Writes an object as another program would.
    pub async fn put(&self, key: &str, content: &str) {
        self.ask("PUT", &format!("/{key}"), content).await;
    }

    /// Returns the content of an object.
    pub async fn get(&self, key: &str) -> String {
        let answer = self.ask("GET", &format!("/{key}"), "").await;
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    async fn ask(&self, method: &str, path: &str, content: &str) -> String {
        let path = format!("{}{path}", S::path("bucket"));
        let mut headers = S::HEADERS.to_vec();
        if method == "PUT" && S::SCHEME == "az" {
            headers.push(("x-ms-blob-type", "BlockBlob"));
        }
        let answer = http_request(self.server.url(), method, &path, &headers, content).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
        answer
    }

    /// Returns the outcome of the work, and how many requests it has cost.
    pub async fn counted<T>(&self, work: impl Future<Output = T>) -> (T, u64) {
        let before = self.server.count_requests().await.unwrap();
        let outcome = work.await;
        (outcome, self.server.count_requests().await.unwrap() - before)
    }
}

pub fn request(name: &LeaseName, holder: &str, ttl: Duration) -> AcquireRequest {
    calls::request(name.clone(), calls::holder(holder), ttl)
}
