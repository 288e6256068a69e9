//! The harness itself: what it says it does to a ZooKeeper server or cluster, it does.
#![allow(clippy::unwrap_used, reason = "a test")]

use integration_tests::{Cluster, Proxy, ServerError, WallClock, ZooKeeper, ZooKeeperCluster, eventually};

async fn serves(server: &ZooKeeper) -> bool {
    server.four_letters("srvr").await.unwrap().is_some_and(|answer| answer.contains("Mode: "))
}

#[tokio::test]
async fn it_is_frozen_killed_and_restarted() {
    let server = ZooKeeper::start_local(&[]).await.unwrap();
    server.freeze().await.unwrap();
    assert!(!serves(&server).await);
    server.thaw().await.unwrap();
    assert!(serves(&server).await);
    server.kill().await.unwrap();
    assert!(std::net::TcpStream::connect(server.address().unwrap()).is_err());
    server.start_again().await.unwrap();
    assert!(serves(&server).await);
    server.restart().await.unwrap();
    assert!(serves(&server).await);
}

#[tokio::test]
async fn the_shared_one_refuses_harm_and_a_proxy_cuts_it() {
    let server = ZooKeeper::shared().await;
    assert!(matches!(server.kill().await, Err(ServerError::Cannot { .. })));
    let proxy = Proxy::start(server.address().unwrap()).await.unwrap();
    assert!(server.url_through(&proxy).ends_with(&proxy.address().to_string()));
}

#[tokio::test]
async fn a_setting_reaches_the_server() {
    let server = ZooKeeper::start_local(&[("maxSessionTimeout", "4321")]).await.unwrap();
    assert!(server.four_letters("conf").await.unwrap().unwrap().contains("maxSessionTimeout=4321"));
    assert!(ZooKeeper::start_local(&[("tickTime", "soon")]).await.is_err());
}

#[tokio::test]
async fn it_runs_under_a_wall_clock_of_its_own() {
    let clock = WallClock::new().await.unwrap();
    let server = ZooKeeper::start_with_clock(&[], &clock).await.unwrap();
    clock.shift(-3_600_000_000_000).unwrap();
    assert!(serves(&server).await);
}

#[tokio::test]
async fn a_leader_that_is_killed_leads_no_more() {
    let cluster = ZooKeeperCluster::start().await.unwrap();
    let first = cluster.leader().await.unwrap();
    cluster.member(first).kill().await.unwrap();
    eventually("another leads", async || cluster.leader().await.is_ok_and(|leader| leader != first)).await;
    cluster.member(first).start_again().await.unwrap();
    assert!(serves(cluster.member(first)).await);
}
