//! A Cluster with a half-moved slot: what the servers answer with a redirection must not reach anybody as an answer.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use fred::{
    clients::Client,
    interfaces::ClientLike,
    types::config::{Config, ConnectionConfig},
};
use integration_tests::{RedisCluster, Reply};
use lease_core::{Clock, ErrorKind, HolderId, LeaseClient, SystemClock, TryAcquired};
use lease_redis::{RedisStore, RedisStoreOptions};

const TTL: Duration = Duration::from_secs(60);
const WATCHED_FOR: Duration = Duration::from_secs(3);
/// The slot of every key with the tag `{t}`, on the last of three servers.
const HALF_MOVED: &str = "15891";

/// Leaves a slot as an interrupted reshard does: its keys are asked for at the first server from now on.
async fn half_move_a_slot(cluster: &RedisCluster) {
    let [to, from] = [&cluster.nodes()[0], &cluster.nodes()[2]];
    let (to_id, from_id) =
        (to.command(&["CLUSTER", "MYID"]).await.unwrap(), from.command(&["CLUSTER", "MYID"]).await.unwrap());
    for (node, state, other) in [(to, "IMPORTING", from_id), (from, "MIGRATING", to_id)] {
        let reply = node.command(&["CLUSTER", "SETSLOT", HALF_MOVED, state, &other.text()]).await.unwrap();
        assert_eq!(reply.text(), "OK");
    }
}

/// Names that the first server keeps, to which the half-moved slot is moving.
async fn names_of_the_first_server(cluster: &RedisCluster, prefix: &str, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    for n in 0.. {
        let name = format!("job{n}");
        let key = format!("{prefix}{name}");
        let Reply::Integer(slot) = cluster.nodes()[0].command(&["CLUSTER", "KEYSLOT", &key]).await.unwrap() else {
            panic!("no slot of {key}")
        };
        if slot < 16384 / 3 {
            names.push(name);
        }
        if names.len() == count {
            break;
        }
    }
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s25_no_name_is_granted_by_the_answer_to_another_one() {
    let cluster = RedisCluster::start(3).await.unwrap();
    let options = RedisStoreOptions::new();
    let client = |holder: &str| {
        let (holder, options, url) = (HolderId::new(holder).unwrap(), options.clone(), cluster.url());
        async move { LeaseClient::builder(options.connect(&url).await.unwrap()).holder(holder).build() }
    };
    let (rival, client) = (client("rival").await, client("client").await);
    let mut held = Vec::new();
    for name in names_of_the_first_server(&cluster, &options.key_prefix, 8).await {
        held.push(rival.try_acquire(name, TTL).await.unwrap().acquired().unwrap());
    }
    half_move_a_slot(&cluster).await;

    let clock = SystemClock;
    let end = clock.now() + WATCHED_FOR;
    let mut tries = tokio::task::JoinSet::new();
    for lease in &held {
        let (client, name) = (client.clone(), lease.name().clone());
        tries.spawn(async move {
            while clock.now() < end {
                // An error says nothing; a grant would be a second holder.
                if let Ok(TryAcquired::Acquired(lease)) = client.try_acquire(&name, TTL).await {
                    panic!("{name} is held by the rival, and was granted with token {}", lease.token());
                }
            }
        });
    }
    let mut redirected = 0;
    for n in 0.. {
        if clock.now() >= end {
            break;
        }
        let error = client.try_acquire(format!("{{t}}/{n}"), Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        redirected += 1;
        clock.sleep_until(clock.now() + Duration::from_millis(10)).await;
    }
    while let Some(tried) = tries.join_next().await {
        tried.unwrap();
    }
    assert!(redirected > 10, "{redirected} redirections prove nothing");
    assert!(held.iter().all(|lease| lease.is_held()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s25_a_client_that_follows_redirections_is_refused() {
    let cluster = RedisCluster::start(3).await.unwrap();
    let config = Config::from_url(&cluster.url()).unwrap();
    let connected = |connection: ConnectionConfig| {
        let config = config.clone();
        async move {
            let client = Client::new(config, None, Some(connection), None);
            client.init().await.unwrap();
            client
        }
    };
    let error = RedisStore::with_client(connected(ConnectionConfig::default()).await).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("max_redirections: 0"), "{error}");

    let connection = ConnectionConfig { max_redirections: 0, ..ConnectionConfig::default() };
    let store = Arc::new(RedisStore::with_client(connected(connection).await).unwrap());
    let client = LeaseClient::new(store);
    assert!(client.try_acquire("job", TTL).await.unwrap().acquired().unwrap().is_held());
}
