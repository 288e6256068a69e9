//! The index of names: a list finds by it what is in force, and does not walk over the whole database.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::{acquire, claim, complete_index, eventually, granted, name, options, release, renew, renewal, request};
use integration_tests::{Redis, Reply};
use lease_core::{Acquired, LeaseClient, LeaseName, LeaseStore};
use lease_election::{CandidateOptions, Election, ElectionOptions};
use lease_redis::{RedisStore, RedisStoreOptions};
use lease_testkit::LogCapture;

const DAY: i64 = 24 * 3600 * 1_000_000_000;

/// A server whose index has been there for days.
async fn complete() -> (Redis, RedisStore) {
    let server = Redis::start_with_own_clock(&[]).await.unwrap();
    let store = options().connect(server.url()).await.unwrap();
    complete_index(&server, store.key_prefix()).await;
    (server, store)
}

async fn names(store: &RedisStore, prefix: &str) -> Vec<String> {
    store.list(prefix, None, 1000).await.unwrap().iter().map(|record| record.name.to_string()).collect()
}

/// How often the server was asked for this.
async fn calls(server: &Redis, command: &str) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]).await.unwrap().text();
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}

async fn indexed(server: &Redis, store: &RedisStore) -> Vec<String> {
    let all = server.command(&["ZRANGE", &format!("{} index", store.key_prefix()), "0", "-1"]).await.unwrap();
    let Reply::Many(members) = all else { panic!("{all:?}") };
    members.iter().map(Reply::text).filter(|member| !member.starts_with('\0')).collect()
}

async fn foreign_keys(server: &Redis, count: u32) {
    let fill = "for at = 1, ARGV[1] do redis.call('SET', 'foreign:' .. at, 'x') end";
    server.command(&["EVAL", fill, "0", &count.to_string()]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_asks_for_what_it_returns_and_walks_over_nothing() {
    let (server, store) = complete().await;
    foreign_keys(&server, 20_000).await;
    for n in 0..600 {
        granted(&store, &request(&format!("job/{n:03}"), "a")).await;
    }
    granted(&store, &request("other", "a")).await;
    server.command(&["CONFIG", "RESETSTAT"]).await.unwrap();
    let all: Vec<_> = (0..600).map(|n| format!("job/{n:03}")).collect();
    assert_eq!(names(&store, "job/").await, all);
    let after = LeaseName::new("job/299").unwrap();
    let page = store.list("job/", Some(&after), 2).await.unwrap();
    assert_eq!(page.iter().map(|record| record.name.as_str()).collect::<Vec<_>>(), ["job/300", "job/301"]);
    assert!(names(&store, "jobs").await.is_empty());
    assert_eq!(calls(&server, "scan").await, 0);
}

/// Nothing was granted before there was an index, so nobody grants without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_this_version_alone_has_a_complete_index_at_once() {
    let server = Redis::start_local(&[]).await.unwrap();
    let store = options().connect(server.url()).await.unwrap();
    foreign_keys(&server, 20_000).await;
    let one = request("job", "a");
    let grant = granted(&store, &one).await;
    assert_eq!(names(&store, "").await, ["job"]);
    eventually("the list walks no more", async || {
        let before = calls(&server, "scan").await;
        names(&store, "").await == ["job"] && calls(&server, "scan").await == before
    })
    .await;
    release(&store, &claim(&one, grant)).await;
    let other = RedisStoreOptions::new().with_key_prefix(store.key_prefix()).connect(server.url()).await.unwrap();
    let before = calls(&server, "scan").await;
    assert!(names(&other, "").await.is_empty());
    assert_eq!(calls(&server, "scan").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_its_first_day_is_over_others_may_not_know_of_the_index() {
    let server = Redis::start_with_own_clock(&[]).await.unwrap();
    let store = options().connect(server.url()).await.unwrap();
    let one = request("job", "a");
    granted(&store, &one).await;
    // As one of a version before has granted it: before there was an index.
    server.command(&["DEL", &format!("{} index", store.key_prefix())]).await.unwrap();
    server.wall_clock().unwrap().shift(15_000_000_000).unwrap();
    granted(&store, &request("first", "a")).await;
    for _ in 0..5 {
        assert_eq!(names(&store, "").await, ["first", "job"]);
        common::pass(Duration::from_millis(100)).await;
    }
    let claim = claim(&one, acquire(&store, &one).await.map(|answer| grant_of(&answer)).unwrap());
    renew(&store, &renewal(&claim, Duration::from_secs(3 * 24 * 3600))).await.unwrap();
    server.wall_clock().unwrap().shift(DAY + DAY / 24).unwrap();
    assert!(names(&store, "").await.is_empty(), "the index is believed from now on");
}

fn grant_of(answer: &Acquired) -> lease_core::Grant {
    let Acquired::Granted(grant) = answer else { panic!("{answer:?}") };
    *grant
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_leaves_the_index_a_minute_after_its_lease_is_over() {
    let (server, store) = complete().await;
    let [kept, released, expired] = ["kept", "released", "expired"].map(|what| request(what, "a"));
    granted(&store, &kept.clone().with_ttl(common::TTL * 100)).await;
    let grant = granted(&store, &released).await;
    release(&store, &claim(&released, grant)).await;
    granted(&store, &expired).await;
    assert_eq!(names(&store, "").await, ["expired", "kept"]);
    assert_eq!(indexed(&server, &store).await, ["expired", "kept", "released"], "somebody may take it to be listed");
    server.wall_clock().unwrap().shift(70_000_000_000).unwrap();
    assert_eq!(names(&store, "").await, ["kept"]);
    assert_eq!(indexed(&server, &store).await, ["expired", "kept"]);
    server.wall_clock().unwrap().shift(200_000_000_000).unwrap();
    assert_eq!(names(&store, "").await, ["kept"]);
    assert_eq!(indexed(&server, &store).await, ["kept"]);
    // Another process, which does not take it to be listed.
    let other = RedisStoreOptions::new().with_key_prefix(store.key_prefix()).connect(server.url()).await.unwrap();
    granted(&other, &request("released", "b")).await;
    assert_eq!(names(&store, "").await, ["kept", "released"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_leaves_the_index_though_nobody_lists() {
    let (server, store) = complete().await;
    for n in 0..400 {
        granted(&store, &request(&format!("past-{n:03}"), "a")).await;
    }
    server.wall_clock().unwrap().shift(200_000_000_000).unwrap();
    for n in 0..600 {
        granted(&store, &request(&format!("now-{n:03}"), "a")).await;
    }
    eventually("the index has what is in force", async || indexed(&server, &store).await.len() == 600).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renewals_bring_a_lost_index_back() {
    let (server, store) = complete().await;
    let one = request("job", "a");
    let claim = claim(&one, granted(&store, &one).await);
    server.command(&["DEL", &format!("{} index", store.key_prefix())]).await.unwrap();
    complete_index(&server, store.key_prefix()).await;
    assert!(names(&store, "").await.is_empty());
    for _ in 0..17 {
        renew(&store, &renewal(&claim, common::TTL)).await.unwrap();
    }
    assert_eq!(names(&store, "").await, ["job"]);
}

#[tokio::test]
async fn without_rights_to_the_index_a_list_walks_and_says_so_once() {
    let logged = LogCapture::new(tracing::Level::WARN);
    let _logging = tracing::subscriber::set_default(logged.clone());
    let server = Redis::start_local(&[]).await.unwrap();
    let rights =
        "+eval +evalsha +time +get +set +setrange +pexpire +scan +publish +subscribe +unsubscribe +ping +hello";
    let mut words = vec!["ACL", "SETUSER", "app", "reset", "on", ">right", "~app:*", "&app:*"];
    words.extend(rights.split(' '));
    server.command(&words).await.unwrap();
    let url = server.url().replace("redis://", "redis://app:right@");
    let store = RedisStoreOptions::new().with_key_prefix("app:").connect(&url).await.unwrap();
    complete_index(&server, "app:").await;
    for at in 0..3 {
        granted(&store, &request(&format!("job-{at}"), "a")).await;
        assert_eq!(names(&store, "").await.len(), at + 1);
    }
    assert_eq!(logged.lines_containing("+zrangebylex").len(), 1, "{:?}", logged.lines());
}

/// Beside very many keys of others, a leader finds a better candidate, and walks over nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_election_beside_the_keys_of_others_costs_its_renewals() {
    let (server, store) = complete().await;
    foreign_keys(&server, 200_000).await;
    let group = |store: RedisStore| {
        let options = ElectionOptions::new(Duration::from_secs(6));
        Election::new(LeaseClient::new(store), "dispatcher", options).unwrap()
    };
    let worse = group(store.clone()).candidate(CandidateOptions::new()).unwrap();
    eventually("it leads", async || worse.is_leader()).await;
    server.command(&["CONFIG", "RESETSTAT"]).await.unwrap();
    let other = RedisStoreOptions::new().with_key_prefix(store.key_prefix()).connect(server.url()).await.unwrap();
    let better = group(other).candidate(CandidateOptions::new().with_priority(10)).unwrap();
    eventually("the better one leads", async || better.is_leader()).await;
    assert_eq!(calls(&server, "scan").await, 0);
    assert_eq!(better.election().candidates().await.unwrap().len(), 2);
    assert!(store.inspect(&name("unknown")).await.unwrap().is_none());
}
