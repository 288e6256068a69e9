//! The conformance suite with a store that is created from a pool of the application.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use crate::harness::{Configuration, Table};
use async_trait::async_trait;
use integration_tests::ServerHarness;
use lease_postgres::{PostgresStore, PostgresStoreOptions};
use sqlx::PgPool;

/// Connects at the first use, to the server of the application's pool.
struct WithPool;

#[async_trait]
impl Configuration for WithPool {
    async fn open(options: &PostgresStoreOptions, url: &str) -> PostgresStore {
        options.with_pool(&PgPool::connect_lazy(url).unwrap()).unwrap()
    }
}

lease_testkit::conformance!(real, ServerHarness::<Table<WithPool>>::start);
