//! The index of names: with it, a list finds the leases in force without a scan of the whole database.

use std::time::Duration;

use integration_tests::{Redis, Reply};
use lease_core::{Acquired, LeaseClient, LeaseName, LeaseStore};
use lease_election::{CandidateOptions, Election, ElectionOptions};
use lease_redis::{RedisStore, RedisStoreOptions};
use lease_testkit::LogCapture;

use crate::common::{
    acquire, claim, complete_index, eventually, granted, name, options, release, renew, renewal, request,
};

const DAY: i64 = 24 * 3600 * 1_000_000_000;

/// Returns a server whose index is complete, because it is older than a day.
async fn with_complete_index() -> (Redis, RedisStore) {
    let server = Redis::start_with_own_clock(&[]).await.unwrap();
    let store = options().connect(server.url()).await.unwrap();
    complete_index(&server, store.key_prefix()).await;
    (server, store)
}

async fn names(store: &RedisStore, prefix: &str) -> Vec<String> {
    store.list(prefix, None, 1000).await.unwrap().iter().map(|record| record.name.to_string()).collect()
}

/// Returns how often the server has executed a command.
async fn calls(server: &Redis, command: &str) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]).await.unwrap().text();
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}

async fn indexed(server: &Redis, store: &RedisStore) -> Vec<String> {
    let all = server.command(&["ZRANGE", &format!("{} index", store.key_prefix()), "0", "-1"]).await.unwrap();
    let Reply::Many(members) = all else { panic!("unexpected answer: {all:?}") };
    members.iter().map(Reply::text).filter(|member| !member.starts_with('\0')).collect()
}

async fn foreign_keys(server: &Redis, count: u32) {
    // In steps that are answered soon, also on a busy machine.
    const STEP: u32 = 20_000;
    let fill = "for at = ARGV[1], ARGV[2] do redis.call('SET', 'foreign:' .. at, 'x') end";
    for from in (1..=count).step_by(STEP as usize) {
        let to = count.min(from + STEP - 1);
        server.command(&["EVAL", fill, "0", &from.to_string(), &to.to_string()]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_with_the_index_does_not_scan() {
    let (server, store) = with_complete_index().await;
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

/// Nothing was granted before the index existed, so no process of an earlier version takes part.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_older_than_all_leases_is_complete_at_once() {
    let server = Redis::start_local(&[]).await.unwrap();
    let store = options().connect(server.url()).await.unwrap();
    foreign_keys(&server, 20_000).await;
    let one = request("job", "a");
    let grant = granted(&store, &one).await;
    assert_eq!(names(&store, "").await, ["job"]);
    eventually("the list does not scan any more", async || {
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
async fn a_list_scans_while_the_index_is_younger_than_a_day() {
    let server = Redis::start_with_own_clock(&[]).await.unwrap();
    let store = options().connect(server.url()).await.unwrap();
    let one = request("job", "a");
    granted(&store, &one).await;
    // As if a process of an earlier version, which has no index, had granted it.
    server.command(&["DEL", &format!("{} index", store.key_prefix())]).await.unwrap();
    server.wall_clock().unwrap().shift(15_000_000_000).unwrap();
    granted(&store, &request("first", "a")).await;
    for _ in 0..5 {
        assert_eq!(names(&store, "").await, ["first", "job"]);
        crate::common::pass(Duration::from_millis(100)).await;
    }
    let claim = claim(&one, acquire(&store, &one).await.map(|answer| grant_of(&answer)).unwrap());
    renew(&store, &renewal(&claim, Duration::from_secs(3 * 24 * 3600))).await.unwrap();
    server.wall_clock().unwrap().shift(DAY + DAY / 24).unwrap();
    assert!(names(&store, "").await.is_empty(), "the list uses the index from now on");
}

fn grant_of(answer: &Acquired) -> lease_core::Grant {
    let Acquired::Granted(grant) = answer else { panic!("unexpected answer: {answer:?}") };
    *grant
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_leaves_the_index_a_minute_after_its_lease_ends() {
    let (server, store) = with_complete_index().await;
    let [kept, released, expired] = ["kept", "released", "expired"].map(|name| request(name, "a"));
    granted(&store, &kept.clone().with_ttl(crate::common::TTL * 100)).await;
    let grant = granted(&store, &released).await;
    release(&store, &claim(&released, grant)).await;
    granted(&store, &expired).await;
    assert_eq!(names(&store, "").await, ["expired", "kept"]);
    assert_eq!(
        indexed(&server, &store).await,
        ["expired", "kept", "released"],
        "another store may assume that the name is indexed"
    );
    server.wall_clock().unwrap().shift(70_000_000_000).unwrap();
    assert_eq!(names(&store, "").await, ["kept"]);
    assert_eq!(indexed(&server, &store).await, ["expired", "kept"]);
    server.wall_clock().unwrap().shift(200_000_000_000).unwrap();
    assert_eq!(names(&store, "").await, ["kept"]);
    assert_eq!(indexed(&server, &store).await, ["kept"]);
    // Another process, which does not assume that the name is indexed.
    let other = RedisStoreOptions::new().with_key_prefix(store.key_prefix()).connect(server.url()).await.unwrap();
    granted(&other, &request("released", "b")).await;
    assert_eq!(names(&store, "").await, ["kept", "released"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_names_leave_the_index_without_a_list() {
    let (server, store) = with_complete_index().await;
    for n in 0..400 {
        granted(&store, &request(&format!("past-{n:03}"), "a")).await;
    }
    server.wall_clock().unwrap().shift(200_000_000_000).unwrap();
    for n in 0..600 {
        granted(&store, &request(&format!("now-{n:03}"), "a")).await;
    }
    eventually("the index has only the leases in force", async || indexed(&server, &store).await.len() == 600).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renewals_restore_a_lost_index() {
    let (server, store) = with_complete_index().await;
    let one = request("job", "a");
    let claim = claim(&one, granted(&store, &one).await);
    server.command(&["DEL", &format!("{} index", store.key_prefix())]).await.unwrap();
    complete_index(&server, store.key_prefix()).await;
    assert!(names(&store, "").await.is_empty());
    for _ in 0..17 {
        renew(&store, &renewal(&claim, crate::common::TTL)).await.unwrap();
    }
    assert_eq!(names(&store, "").await, ["job"]);
}

#[tokio::test]
async fn without_permission_for_the_index_a_list_scans_and_warns_once() {
    let logged = LogCapture::new(tracing::Level::WARN);
    let _logging = tracing::subscriber::set_default(logged.clone());
    let server = Redis::start_local(&[]).await.unwrap();
    let permissions =
        "+eval +evalsha +time +get +set +setrange +pexpire +scan +publish +subscribe +unsubscribe +ping +hello";
    let mut arguments = vec!["ACL", "SETUSER", "app", "reset", "on", ">right", "~app:*", "&app:*"];
    arguments.extend(permissions.split(' '));
    server.command(&arguments).await.unwrap();
    let url = server.url().replace("redis://", "redis://app:right@");
    let store = RedisStoreOptions::new().with_key_prefix("app:").connect(&url).await.unwrap();
    complete_index(&server, "app:").await;
    for at in 0..3 {
        granted(&store, &request(&format!("job-{at}"), "a")).await;
        assert_eq!(names(&store, "").await.len(), at + 1);
    }
    assert_eq!(logged.lines_containing("+zrangebylex").len(), 1, "{:?}", logged.lines());
}

/// In a database with very many other keys, a leader finds a better candidate without a scan.
#[tokio::test(flavor = "multi_thread")]
async fn an_election_does_not_scan_other_keys() {
    let (server, store) = with_complete_index().await;
    foreign_keys(&server, 200_000).await;
    let election = |store: RedisStore| {
        let options = ElectionOptions::new(Duration::from_secs(6));
        Election::new(LeaseClient::new(store), "dispatcher", options).unwrap()
    };
    let worse = election(store.clone()).candidate(CandidateOptions::new()).unwrap();
    eventually("the first candidate leads", async || worse.is_leader()).await;
    server.command(&["CONFIG", "RESETSTAT"]).await.unwrap();
    let other = RedisStoreOptions::new().with_key_prefix(store.key_prefix()).connect(server.url()).await.unwrap();
    let better = election(other).candidate(CandidateOptions::new().with_priority(10)).unwrap();
    eventually("the candidate of higher priority leads", async || better.is_leader()).await;
    assert_eq!(calls(&server, "scan").await, 0);
    assert_eq!(better.election().candidates().await.unwrap().len(), 2);
    assert!(store.inspect(&name("unknown")).await.unwrap().is_none());
}
