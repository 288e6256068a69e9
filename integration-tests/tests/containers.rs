//! The way through a container engine. Not part of the default run, because not every machine has an engine:
//! `cargo test -p integration-tests --features containers --test containers`. Without an engine it fails.

use integration_tests::{Postgres, Redis};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_starts_freezes_and_restarts_like_a_process() {
    let postgres = Postgres::start_container(&[]).await.unwrap();
    let address = postgres.address().unwrap();
    postgres.freeze().await.unwrap();
    postgres.thaw().await.unwrap();
    postgres.restart().await.unwrap();
    assert_eq!(postgres.address().unwrap(), address);
    postgres.kill().await.unwrap();
    postgres.start_again().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_redis() {
    let redis = Redis::start_container(&[]).await.unwrap();
    let address = redis.address().unwrap();
    redis.freeze().await.unwrap();
    redis.thaw().await.unwrap();
    redis.restart().await.unwrap();
    assert_eq!(redis.address().unwrap(), address);
    redis.kill().await.unwrap();
    redis.start_again().await.unwrap();
}
