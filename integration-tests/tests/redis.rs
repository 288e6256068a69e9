//! The harness itself: what it says it does to Redis servers, it does.
#![allow(clippy::unwrap_used, reason = "a test")]

use integration_tests::{Redis, RedisCluster, RedisSentinel, Reply, ServerError};

async fn get(redis: &Redis) -> Reply {
    redis.command(&["GET", "key"]).await.unwrap()
}

#[tokio::test]
async fn the_shared_one_is_one_and_refuses_harm() {
    let redis = Redis::shared().await;
    assert_eq!(redis.url(), Redis::shared().await.url());
    for refused in [redis.freeze().await, redis.kill().await, redis.start_again().await, redis.restart().await] {
        assert!(matches!(refused, Err(ServerError::Cannot { .. })), "{refused:?}");
    }
    assert_eq!(redis.command(&["PING"]).await.unwrap(), Reply::Text("PONG".into()));
}

#[tokio::test]
async fn a_setting_reaches_the_server() {
    let error = Redis::start_local(&[("no-such-setting", "on")]).await.unwrap_err().to_string();
    assert!(error.contains("no-such-setting"), "{error}");
}

#[tokio::test]
async fn it_freezes_and_comes_back_as_empty_as_it_was_told_to() {
    let forgetful = Redis::start_local(&[]).await.unwrap();
    let durable = Redis::start_local(&[("appendonly", "yes"), ("appendfsync", "always")]).await.unwrap();
    for redis in [&forgetful, &durable] {
        redis.command(&["SET", "key", "value"]).await.unwrap();
        redis.freeze().await.unwrap();
        assert!(redis.command(&["GET", "key"]).await.is_err());
        redis.thaw().await.unwrap();
        assert_eq!(get(redis).await.text(), "value");
        redis.kill().await.unwrap();
        assert!(redis.command(&["GET", "key"]).await.is_err());
        redis.start_again().await.unwrap();
        redis.restart().await.unwrap();
    }
    assert_eq!(get(&forgetful).await, Reply::Nil);
    assert_eq!(get(&durable).await.text(), "value");
}

#[tokio::test]
async fn a_cluster_shares_the_slots() {
    let cluster = RedisCluster::start(3).await.unwrap();
    let moved = cluster.nodes()[0].command(&["SET", "foo", "1"]).await.unwrap();
    assert!(matches!(&moved, Reply::Error(error) if error.starts_with("MOVED 12182")), "{moved:?}");
    assert_eq!(cluster.nodes()[2].command(&["SET", "foo", "1"]).await.unwrap(), Reply::Text("OK".into()));
    cluster.nodes()[2].restart().await.unwrap();
    cluster.settled().await.unwrap();
    assert_eq!(cluster.nodes()[2].command(&["GET", "foo"]).await.unwrap().text(), "1");
}

#[tokio::test]
async fn a_sentinel_promotes_the_replica() {
    let (clean, cut) = (RedisSentinel::start().await.unwrap(), RedisSentinel::start().await.unwrap());
    clean.fail_over().await.unwrap();
    cut.cut_primary().await.unwrap();
    for all in [&clean, &cut] {
        assert_eq!(all.replica().command(&["SET", "key", "new"]).await.unwrap(), Reply::Text("OK".into()));
    }
    // Both sides of a cut go on.
    assert_eq!(cut.primary().command(&["SET", "key", "old"]).await.unwrap(), Reply::Text("OK".into()));
}
