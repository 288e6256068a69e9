//! A Cluster with a half-moved slot: a redirection must not shift the answers of other calls on its connection (S25).

use std::time::Duration;

use fred::{clients::Client, interfaces::ClientLike, types::config::Config};
use integration_tests::{RedisCluster, Reply};
use lease_core::{Acquired, Clock, HolderId, LeaseClient, LeaseStore, SystemClock, TryAcquired};
use lease_redis::{RedisStore, RedisStoreOptions};

use crate::common::{AnswerInserter, acquire, eventually, granted, name, options, request};

const TTL: Duration = Duration::from_secs(60);
const WATCHED_FOR: Duration = Duration::from_secs(3);
/// The slot of every key with the tag `{t}`, on the last of three servers.
const HALF_MOVED: u16 = 15891;

/// Returns names on the first server, to which the half-moved slot is moving.
async fn names_of_the_first_server(cluster: &RedisCluster, prefix: &str, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    for n in 0.. {
        let name = format!("job{n}");
        let key = format!("{prefix}{name}");
        let Reply::Integer(slot) = cluster.nodes()[0].command(&["CLUSTER", "KEYSLOT", &key]).await.unwrap() else {
            panic!("the server returned no slot for {key}")
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
async fn s25_a_redirection_does_not_grant_another_name() {
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
    cluster.half_move(HALF_MOVED, 2, 0, &[]).await.unwrap();

    let clock = SystemClock;
    let end = clock.now() + WATCHED_FOR;
    let mut tries = tokio::task::JoinSet::new();
    for lease in &held {
        let (client, name) = (client.clone(), lease.name().clone());
        tries.spawn(async move {
            while clock.now() < end {
                // An error is no finding; a grant would be a second holder.
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
        // The server redirects this call to the first server, on the connection that the other calls use.
        assert!(client.try_acquire(format!("{{t}}/{n}"), TTL).await.unwrap().is_acquired());
        redirected += 1;
        clock.sleep_until(clock.now() + Duration::from_millis(10)).await;
    }
    while let Some(tried) = tries.join_next().await {
        tried.unwrap();
    }
    assert!(redirected > 10, "{redirected} redirections are too few for a result");
    assert!(held.iter().all(|lease| lease.is_held()));
}

/// A client that follows redirections mixes up answers, so the store takes only its configuration.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s25_a_client_of_the_application_that_follows_redirections_is_not_used_for_calls() {
    let cluster = RedisCluster::start(3).await.unwrap();
    cluster.half_move(HALF_MOVED, 2, 0, &[]).await.unwrap();
    for is_connected in [true, false] {
        let own = Client::new(Config::from_url(&cluster.url()).unwrap(), None, None, None);
        if is_connected {
            own.init().await.unwrap();
        }
        let client = LeaseClient::new(RedisStore::with_client(own).unwrap());
        for n in 0..30 {
            for name in [format!("job-{is_connected}-{n}"), format!("{{t}}/{is_connected}-{n}")] {
                assert!(client.try_acquire(name, TTL).await.unwrap().acquired().unwrap().is_held());
            }
        }
    }
}

/// The slot is half moved, and the name is held at the server that is giving it away. The other one has no record of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s25_a_stray_ask_does_not_grant_a_name_that_is_held() {
    let cluster = RedisCluster::start(3).await.unwrap();
    let inserter = AnswerInserter::start(cluster.nodes()[2].address().unwrap()).await;
    let port = inserter.port().to_string();
    cluster.nodes()[2].command(&["CONFIG", "SET", "cluster-announce-port", &port]).await.unwrap();
    for node in cluster.nodes() {
        eventually("all servers have the address of the proxy", async || {
            format!("{:?}", node.command(&["CLUSTER", "SLOTS"]).await).contains(&format!("Integer({port})"))
        })
        .await;
    }
    let options = options();
    let rival = options.connect(&cluster.url()).await.unwrap();
    granted(&rival, &request("{t}/job", "rival")).await;
    cluster.half_move(HALF_MOVED, 2, 0, &[]).await.unwrap();
    let store = options.connect(&cluster.url()).await.unwrap();
    assert!(matches!(acquire(&store, &request("{t}/job", "a")).await, Ok(Acquired::Held { .. })));
    assert!(inserter.connections_so_far() > 0);
    let ask = format!("-ASK {HALF_MOVED} {}\r\n", cluster.nodes()[0].address().unwrap());
    for insert in [AnswerInserter::instead_of_the_next_answer, AnswerInserter::before_the_next_answer] {
        insert(&inserter, &ask);
        while !inserter.is_done() {
            // An error is no finding; a grant would be a second holder.
            let answer = acquire(&store, &request("{t}/job", "a")).await;
            assert!(!matches!(answer, Ok(Acquired::Granted(_))), "{answer:?}");
        }
        eventually("the store serves", async || store.inspect(&name("{t}/job")).await.is_ok()).await;
    }
}
