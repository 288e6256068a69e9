//! The harness itself: what it says it does to an etcd server or cluster, it does.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use integration_tests::{Cluster, Etcd, EtcdCluster, ServerError};
use lease_core::{Clock, SystemClock};

/// What it answers over plain HTTP; nothing when it does not.
fn ask(address: SocketAddr, request: &str, body: &str) -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let length = body.len();
        let head = format!("{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}");
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().unwrap_or_default()
}

/// Whether it has a leader and answers reads.
fn is_healthy(address: SocketAddr) -> bool {
    ask(address, "GET /health", "").contains(r#""health":"true""#)
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = SystemClock.now() + Duration::from_secs(40);
    while !condition() {
        assert!(SystemClock.now() < deadline, "{what}");
        SystemClock.sleep_until(SystemClock.now() + Duration::from_millis(50)).await;
    }
}

async fn start() -> Etcd {
    Etcd::start_local(&[]).await.unwrap()
}

#[tokio::test]
async fn the_shared_one_is_one_and_refuses_harm() {
    let etcd = Etcd::shared().await;
    assert_eq!(etcd.url(), Etcd::shared().await.url());
    for refused in [etcd.freeze().await, etcd.thaw().await, etcd.kill().await, etcd.restart().await] {
        assert!(matches!(refused, Err(ServerError::Cannot { .. })), "{refused:?}");
    }
    assert!(is_healthy(etcd.address().unwrap()));
}

#[tokio::test]
async fn a_server_is_frozen_killed_and_restarted() {
    let etcd = start().await;
    let address = etcd.address().unwrap();
    assert!(is_healthy(address));
    etcd.freeze().await.unwrap();
    assert!(TcpStream::connect(address).is_ok() && !is_healthy(address));
    etcd.thaw().await.unwrap();
    until("it goes on", || is_healthy(address)).await;
    etcd.kill().await.unwrap();
    until("the port is closed", || TcpStream::connect(address).is_err()).await;
    etcd.start_again().await.unwrap();
    assert!(is_healthy(address));
    etcd.restart().await.unwrap();
    assert!(is_healthy(address));
}

#[tokio::test]
async fn its_leases_are_counted() {
    let etcd = start().await;
    assert_eq!(etcd.count_leases().await.unwrap(), 0);
    for id in [7, 8] {
        let granted = ask(etcd.address().unwrap(), "POST /v3/lease/grant", &format!(r#"{{"TTL":"600","ID":"{id}"}}"#));
        assert!(granted.contains(r#""TTL":"600""#), "{granted}");
    }
    assert_eq!(etcd.count_leases().await.unwrap(), 2);
}

#[tokio::test]
async fn a_setting_reaches_the_server() {
    assert!(Etcd::start_local(&[("no-such-setting", "on")]).await.is_err());
    // It refuses an election timeout of less than five heartbeats.
    assert!(Etcd::start_local(&[("election-timeout", "1"), ("heartbeat-interval", "100")]).await.is_err());
}

#[tokio::test]
async fn a_leader_that_is_cut_off_or_killed_leads_no_more() {
    let cluster = EtcdCluster::start().await;
    let first = cluster.leader().await.unwrap();
    cluster.cut_off(first).await.unwrap();
    let second = another_leader(&cluster, first).await;
    cluster.heal();
    cluster.member(second).kill().await.unwrap();
    another_leader(&cluster, second).await;
    // It returns once the member serves again.
    cluster.member(second).start_again().await.unwrap();
}

async fn another_leader(cluster: &EtcdCluster, before: usize) -> usize {
    let deadline = SystemClock.now() + Duration::from_secs(30);
    loop {
        match cluster.leader().await {
            Ok(leader) if leader != before => return leader,
            _ => assert!(SystemClock.now() < deadline, "no other leader"),
        }
        SystemClock.sleep_until(SystemClock.now() + Duration::from_millis(50)).await;
    }
}
