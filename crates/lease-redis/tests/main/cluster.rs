//! A Cluster goes through what clusters go through: servers that die, hang, come and go, and slots that move.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use fred::{
    clients::Client,
    interfaces::ClientLike,
    types::{CustomCommand, Value, config::Config},
};
use futures::future::join_all;
use integration_tests::{Direction, Proxy, Redis, RedisCluster, Reply, is_hinted_within};
use lease_core::{Clock, ErrorKind, HolderId, Lease, LeaseClient, LeaseState, LeaseStore, SystemClock, TryAcquired};
use lease_redis::{RedisStore, RedisStoreOptions, fred};

use crate::common::{acquire, complete_index, eventually, granted, name, options, pass, request};

const TTL: Duration = Duration::from_secs(2);
const SLOTS: usize = 16384;
/// What is free at a healthy server is had within this time, on a busy machine.
const SOON: Duration = Duration::from_millis(500);
/// The slot of every key with the tag `{t}`, on the last of three servers.
const TAGGED: u16 = 15891;

/// Leases of a client, each with the number of the server that had it at first.
struct Held {
    leases: Vec<(usize, Lease)>,
}

impl Held {
    async fn acquire(
        cluster: &RedisCluster,
        client: &LeaseClient,
        options: &RedisStoreOptions,
        ttl_at: impl Fn(usize) -> Duration,
    ) -> Self {
        let mut names = Vec::new();
        for name in (0..90).map(|n| format!("job-{n}")) {
            names.push((shard_of(cluster, options, &name).await, name));
        }
        let leases = join_all(names.iter().map(|(shard, name)| client.try_acquire(name, ttl_at(*shard)))).await;
        let leases = leases.into_iter().map(|lease| lease.unwrap().acquired().unwrap());
        Self { leases: names.iter().map(|(shard, _)| *shard).zip(leases).collect() }
    }

    fn lost(&self, which: impl Fn(usize) -> bool) -> Vec<String> {
        let lost = self.leases.iter().filter(|(shard, lease)| which(*shard) && !lease.is_held());
        lost.map(|(_, lease)| format!("{} {:?}", lease.name(), lease.state())).collect()
    }
}

async fn shard_of(cluster: &RedisCluster, options: &RedisStoreOptions, name: &str) -> usize {
    let slot = cluster.slot_of(&format!("{}{name}", options.key_prefix)).await.unwrap();
    (0..3).find(|at| usize::from(slot) < (at + 1) * SLOTS / 3).unwrap()
}

async fn client(cluster: &RedisCluster, options: &RedisStoreOptions, holder: &str) -> LeaseClient {
    let store = options.connect(&cluster.url()).await.unwrap();
    LeaseClient::builder(store).holder(HolderId::new(holder).unwrap()).build()
}

/// A store that lists by the index of names, and one that has no right to it and walks over the databases.
async fn listers(cluster: &RedisCluster, options: &RedisStoreOptions) -> [RedisStore; 2] {
    for node in cluster.nodes() {
        let user = ["ACL", "SETUSER", "walker", "on", ">secret", "~*", "&*", "+@all", "-zadd", "-zrangebylex"];
        assert_eq!(node.command(&user).await.unwrap().text(), "OK");
    }
    let walker = options.clone().with_user("walker", "secret");
    [options.connect(&cluster.url()).await.unwrap(), walker.connect(&cluster.url()).await.unwrap()]
}

async fn all_list(stores: &[RedisStore], prefix: &str, count: usize) {
    for store in stores {
        assert_eq!(store.list(prefix, None, 1000).await.unwrap().len(), count);
    }
}

/// Looks for this long whether what must be held is, and whether new names are had soon on the servers other than this one.
async fn others_notice_nothing(
    cluster: &RedisCluster,
    client: &LeaseClient,
    options: &RedisStoreOptions,
    held: &Held,
    hurt: usize,
    time: Duration,
) {
    let clock = SystemClock;
    let (end, mut new, mut in_jeopardy) = (clock.now() + time, 0, 0);
    while clock.now() < end {
        let is_in_jeopardy = |(shard, lease): &(usize, Lease)| *shard != hurt && lease.state() != LeaseState::Held;
        in_jeopardy += usize::from(held.leases.iter().any(is_in_jeopardy));
        assert_eq!(held.lost(|shard| shard != hurt), Vec::<String>::new());
        new += 1;
        let name = format!("new-{new}");
        if shard_of_healthy(cluster, options, &name, hurt).await {
            let began = clock.now();
            assert!(client.try_acquire(&name, TTL).await.unwrap().is_acquired());
            let took = clock.now().saturating_since(began);
            assert!(took < SOON, "{name} took {took:?}");
        }
        pass(Duration::from_millis(50)).await;
    }
    // A busy machine may be late.
    assert!(in_jeopardy <= new / 20, "somebody was in jeopardy at {in_jeopardy} of {new} looks");
}

/// Asked of a server that is well.
async fn shard_of_healthy(cluster: &RedisCluster, options: &RedisStoreOptions, name: &str, hurt: usize) -> bool {
    let key = format!("{}{name}", options.key_prefix);
    let asked = &cluster.nodes()[(hurt + 1) % 3];
    let slot: usize = asked.command(&["CLUSTER", "KEYSLOT", &key]).await.unwrap().text().parse().unwrap();
    !(hurt * SLOTS / 3..(hurt + 1) * SLOTS / 3).contains(&slot)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_a_dead_primary_costs_the_leases_of_the_others_nothing() {
    let cluster = RedisCluster::start_with(3, &[("cluster-require-full-coverage", "no")]).await.unwrap();
    let options = options();
    let client = client(&cluster, &options, "a").await;
    let held = Held::acquire(&cluster, &client, &options, |_| TTL).await;
    cluster.nodes()[2].kill().await.unwrap();
    others_notice_nothing(&cluster, &client, &options, &held, 2, Duration::from_secs(8)).await;
    assert_eq!(held.lost(|shard| shard == 2).len(), held.leases.iter().filter(|(shard, _)| *shard == 2).count());
    // What it has can be had again when it is back.
    cluster.nodes()[2].start_again().await.unwrap();
    let (_, lease) = held.leases.iter().find(|(shard, _)| *shard == 2).unwrap();
    eventually("its names can be had", async || {
        client.try_acquire(lease.name().as_str(), TTL).await.is_ok_and(|tried| tried.is_acquired())
    })
    .await;
    assert_eq!(held.lost(|shard| shard != 2), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_a_primary_that_hangs_costs_the_leases_of_the_others_nothing() {
    let cluster = RedisCluster::start_with(3, &[("cluster-require-full-coverage", "no")]).await.unwrap();
    let options = options();
    let client = client(&cluster, &options, "a").await;
    let held = Held::acquire(&cluster, &client, &options, |_| TTL).await;
    cluster.nodes()[0].freeze().await.unwrap();
    others_notice_nothing(&cluster, &client, &options, &held, 0, Duration::from_secs(8)).await;
    cluster.nodes()[0].thaw().await.unwrap();
    let (_, lease) = held.leases.iter().find(|(shard, _)| *shard == 0).unwrap();
    eventually("its names can be had", async || {
        client.try_acquire(lease.name().as_str(), TTL).await.is_ok_and(|tried| tried.is_acquired())
    })
    .await;
    assert_eq!(held.lost(|shard| shard != 0), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_outlasts_the_fail_over_of_its_shard_is_held() {
    outlasts_a_fail_over(async |primary: &Redis| primary.kill().await.unwrap()).await;
}

/// Its connections are open, and nobody answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_outlasts_the_fail_over_from_a_primary_that_hangs_is_held() {
    outlasts_a_fail_over(async |primary: &Redis| primary.freeze().await.unwrap()).await;
}

async fn outlasts_a_fail_over(harm: impl AsyncFn(&Redis)) {
    let settings = [("repl-diskless-sync-delay", "0"), ("cluster-require-full-coverage", "no")];
    let mut cluster = RedisCluster::start_with(3, &settings).await.unwrap();
    cluster.add_replica(1).await.unwrap();
    let options = options();
    let client = client(&cluster, &options, "a").await;
    let ttl_at = |shard| if shard == 1 { Duration::from_secs(15) } else { TTL };
    let held = Held::acquire(&cluster, &client, &options, ttl_at).await;
    let tokens: Vec<_> = held.leases.iter().map(|(_, lease)| lease.token()).collect();
    cluster.replicated(1).await.unwrap();
    harm(&cluster.nodes()[1]).await;
    let clock = SystemClock;
    let end = clock.now() + Duration::from_secs(17);
    while clock.now() < end {
        assert_eq!(held.lost(|_| true), Vec::<String>::new());
        pass(Duration::from_millis(100)).await;
    }
    let store = options.connect(&cluster.url()).await.unwrap();
    for ((_, lease), token) in held.leases.iter().zip(tokens) {
        let record = store.inspect(lease.name()).await.unwrap().unwrap();
        assert_eq!((record.token, lease.token()), (token, token));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_half_moved_slot_leases_live_and_exclude_each_other() {
    let cluster = RedisCluster::start(3).await.unwrap();
    let options = options();
    let (rival, client) = (client(&cluster, &options, "rival").await, client(&cluster, &options, "client").await);
    let hold = async |client: &LeaseClient, names: [&str; 2]| {
        let leases = join_all(names.map(|name| client.try_acquire(name, TTL))).await;
        leases.into_iter().map(|lease| lease.unwrap().acquired().unwrap()).collect::<Vec<_>>()
    };
    let own = hold(&client, ["{t}/a", "{t}/b"]).await;
    let rivals = hold(&rival, ["{t}/c", "{t}/d"]).await;
    let moved = ["{t}/a", "{t}/c"].map(|name| format!("{}{name}", options.key_prefix));
    cluster.half_move(TAGGED, 2, 0, &moved.each_ref().map(String::as_str)).await.unwrap();

    let clock = SystemClock;
    let (end, mut new) = (clock.now() + 3 * TTL, Vec::new());
    while clock.now() < end {
        for lease in own.iter().chain(&rivals) {
            assert!(lease.is_held(), "{} {:?}", lease.name(), lease.state());
        }
        for lease in &rivals {
            assert!(!client.try_acquire(lease.name().as_str(), TTL).await.unwrap().is_acquired(), "{}", lease.name());
        }
        let names = [0, 1].map(|at| format!("{{t}}/new-{}", new.len() + at));
        new.extend(hold(&client, names.each_ref().map(String::as_str)).await);
        pass(Duration::from_millis(100)).await;
    }
    assert!(new.len() > 20 && new.iter().all(|lease| lease.is_held()), "{}", new.len());
    all_list(&listers(&cluster, &options).await, "{t}/", 4 + new.len()).await;
    for lease in own.iter().chain(&rivals).chain(&new) {
        let token = token_in_redis(&cluster, &format!("{}{}", options.key_prefix, lease.name())).await;
        assert_eq!(token, lease.token().to_string(), "{}", lease.name());
    }
    for lease in new.into_iter().chain(own) {
        lease.release().await.unwrap();
    }
    assert!(rival.try_acquire("{t}/a", TTL).await.unwrap().is_acquired());
    assert!(rival.try_acquire("{t}/b", TTL).await.unwrap().is_acquired());
}

/// The first line of the record, wherever it is.
async fn token_in_redis(cluster: &RedisCluster, key: &str) -> String {
    let at_the_source = cluster.nodes()[2].command(&["GET", key]).await.unwrap();
    let record = match at_the_source {
        Reply::Text(record) => record,
        Reply::Error(error) if error.starts_with("ASK ") => {
            let client = Client::new(Config::from_url(cluster.nodes()[0].url()).unwrap(), None, None, None);
            client.init().await.unwrap();
            let pipeline = client.pipeline();
            for (command, words) in [("ASKING", vec![]), ("GET", vec![key])] {
                let command = CustomCommand::new_static(command, None, false);
                let () = pipeline.custom(command, words).await.unwrap();
            }
            pipeline.last::<Value>().await.unwrap().into_string().unwrap()
        }
        other => panic!("{other:?}"),
    };
    record.lines().next().unwrap().to_owned()
}

/// Who has which of some names, as those who have them believe.
#[derive(Default)]
struct Ledger {
    tokens: Mutex<HashMap<String, u64>>,
    is_held: Mutex<HashMap<String, bool>>,
    grants: AtomicUsize,
}

impl Ledger {
    fn begins(&self, lease: &Lease) {
        let name = lease.name().to_string();
        let was_held = self.is_held.lock().unwrap().insert(name.clone(), true).unwrap_or(false);
        assert!(!was_held, "{name} was granted to two");
        let last = self.tokens.lock().unwrap().insert(name.clone(), lease.token().get());
        assert!(last.is_none_or(|last| last < lease.token().get()), "the tokens of {name} fell");
        self.grants.fetch_add(1, Ordering::Relaxed);
    }

    fn ends(&self, lease: &Lease) {
        assert!(lease.is_held());
        self.is_held.lock().unwrap().insert(lease.name().to_string(), false);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reshard_under_load_loses_nothing_and_answers_nothing_wrong() {
    const MOVED: u16 = 1000;
    let cluster = RedisCluster::start(3).await.unwrap();
    let options = options();
    let (one, other) = (client(&cluster, &options, "one").await, client(&cluster, &options, "other").await);
    // Names in the slots that move.
    let mut names = Vec::new();
    for n in 0.. {
        let name = format!("job-{n}");
        if cluster.slot_of(&format!("{}{name}", options.key_prefix)).await.unwrap() < MOVED {
            names.push(name);
        }
        if names.len() == 48 {
            break;
        }
    }
    let contended = names.split_off(40);
    let held = join_all(names.iter().map(|name| one.try_acquire(name, TTL))).await;
    let held: Vec<_> = held.into_iter().map(|lease| lease.unwrap().acquired().unwrap()).collect();
    let (ledger, is_over) = (Arc::new(Ledger::default()), Arc::new(AtomicBool::new(false)));
    let mut load = tokio::task::JoinSet::new();
    for name in &contended {
        for client in [&one, &other] {
            let (client, name) = (client.clone(), name.clone());
            let (ledger, is_over) = (Arc::clone(&ledger), Arc::clone(&is_over));
            load.spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    if let TryAcquired::Acquired(lease) = client.try_acquire(&name, TTL).await.unwrap() {
                        ledger.begins(&lease);
                        pass(Duration::from_millis(5)).await;
                        ledger.ends(&lease);
                        lease.release().await.unwrap();
                    }
                    pass(Duration::from_millis(2)).await;
                }
            });
        }
    }
    for slot in 0..MOVED {
        cluster.move_slot(slot, 0, 1).await.unwrap();
        assert!(held.iter().all(|lease| lease.is_held()));
    }
    pass(2 * TTL).await;
    is_over.store(true, Ordering::Relaxed);
    while let Some(done) = load.join_next().await {
        done.unwrap();
    }
    assert!(held.iter().all(|lease| lease.is_held()));
    let grants = ledger.grants.load(Ordering::Relaxed);
    assert!(grants > 500, "{grants} grants prove nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_comes_and_goes_while_leases_are_held() {
    let mut cluster = RedisCluster::start(3).await.unwrap();
    let options = options();
    let client = client(&cluster, &options, "a").await;
    let held = Held::acquire(&cluster, &client, &options, |_| TTL).await;
    cluster.add_node().await.unwrap();
    let mut slots = Vec::new();
    for (shard, lease) in held.leases.iter().filter(|(shard, _)| *shard == 0) {
        slots.push((*shard, cluster.slot_of(&format!("{}{}", options.key_prefix, lease.name())).await.unwrap()));
    }
    // A name is there before the server has a slot.
    let (shard, lease) = held.leases.iter().find(|(shard, _)| *shard == 0).unwrap();
    let first = format!("{}{}", options.key_prefix, lease.name());
    cluster.half_move(cluster.slot_of(&first).await.unwrap(), *shard, 3, &[&first]).await.unwrap();
    all_list(&listers(&cluster, &options).await, "job-", 90).await;
    slots.sort_unstable();
    slots.dedup();
    for (shard, slot) in &slots {
        cluster.move_slot(*slot, *shard, 3).await.unwrap();
    }
    pass(2 * TTL).await;
    assert_eq!(held.lost(|_| true), Vec::<String>::new());
    let clients = cluster.nodes()[3].command(&["CLIENT", "LIST", "TYPE", "normal"]).await.unwrap().text();
    assert!(clients.lines().count() >= 2, "nobody uses it: {clients}");
    all_list(&listers(&cluster, &options).await, "job-", 90).await;
    for (shard, slot) in &slots {
        cluster.move_slot(*slot, 3, *shard).await.unwrap();
    }
    cluster.remove_last_node().await.unwrap();
    pass(2 * TTL).await;
    assert_eq!(held.lost(|_| true), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s19_what_was_granted_while_the_server_of_the_index_was_dead_is_listed_when_it_is_back() {
    let cluster = RedisCluster::start_with(3, &[("cluster-require-full-coverage", "no")]).await.unwrap();
    let options = options();
    let store = options.connect(&cluster.url()).await.unwrap();
    let slot = cluster.slot_of(&format!("{} index", options.key_prefix)).await.unwrap();
    let dead = (0..3).find(|at| usize::from(slot) < (at + 1) * SLOTS / 3).unwrap();
    complete_index(&cluster.nodes()[dead], &options.key_prefix).await;
    let mut names = Vec::new();
    for name in (0..90).map(|n| format!("job-{n}")) {
        if shard_of(&cluster, &options, &name).await != dead {
            names.push(name);
        }
    }
    cluster.nodes()[dead].kill().await.unwrap();
    for name in &names {
        granted(&store, &request(name, "a")).await;
    }
    cluster.nodes()[dead].start_again().await.unwrap();
    eventually("the list is whole, without a renewal", async || {
        store.list("job-", None, 1000).await.is_ok_and(|leases| leases.len() == names.len())
    })
    .await;
}

#[tokio::test]
async fn s19_what_a_dead_server_has_is_not_missing_from_a_list() {
    let cluster = RedisCluster::start_with(3, &[("cluster-require-full-coverage", "no")]).await.unwrap();
    let stores = listers(&cluster, &options().with_command_timeout(Duration::from_secs(1))).await;
    for n in 0..10 {
        granted(&stores[0], &request(&format!("job-{n}"), "a")).await;
    }
    all_list(&stores, "job-", 10).await;
    cluster.nodes()[1].kill().await.unwrap();
    let address = cluster.nodes()[1].address().unwrap().to_string();
    for store in &stores {
        let error = store.list("job-", None, 100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains(&address), "{error}");
    }
    // Whoever comes now finds the others.
    let late = options().connect(&cluster.url()).await.unwrap();
    let answers = join_all((0..10).map(|n| {
        let late = late.clone();
        async move { late.inspect(&name(&format!("{n}"))).await }
    }))
    .await;
    assert!(answers.iter().any(Result::is_ok), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_hints_come_from_another_server_when_that_of_the_subscription_dies() {
    let cluster = RedisCluster::start_with(3, &[("cluster-require-full-coverage", "no")]).await.unwrap();
    let options = options();
    let store = options.connect(&cluster.url()).await.unwrap();
    for is_killed in [false, true] {
        let mut wakeups = store.subscribe(&name("job-0"));
        assert!(is_hinted_within(&mut wakeups, Duration::from_secs(5)).await);
        let mut at = Vec::new();
        for (number, node) in cluster.nodes().iter().enumerate() {
            let channel = format!("{}job-0", options.key_prefix);
            let Reply::Many(count) = node.command(&["PUBSUB", "NUMSUB", &channel]).await.unwrap() else { panic!() };
            if count[1] == Reply::Integer(1) {
                at.push(number);
            }
        }
        let [at] = at[..] else { panic!("subscribed at {at:?}") };
        if is_killed {
            cluster.nodes()[at].kill().await.unwrap();
        } else {
            cluster.nodes()[at].freeze().await.unwrap();
        }
        assert!(is_hinted_within(&mut wakeups, Duration::from_secs(8)).await, "it does not stand anew");
        let other = cluster.nodes().iter().enumerate().find(|(number, _)| *number != at).unwrap().1;
        let channel = format!("{}job-0", options.key_prefix);
        other.command(&["PUBLISH", &channel, ""]).await.unwrap();
        assert!(is_hinted_within(&mut wakeups, Duration::from_secs(2)).await);
        cluster.nodes()[at].thaw().await.unwrap();
        if !is_killed {
            cluster.settled().await.unwrap();
        }
    }
}

#[tokio::test]
async fn servers_are_found_by_the_names_that_they_announce() {
    let cluster = RedisCluster::start(3).await.unwrap();
    for (kind, host) in [("hostname", "localhost"), ("unknown-endpoint", ""), ("hostname", "")] {
        for node in cluster.nodes() {
            node.command(&["CONFIG", "SET", "cluster-announce-hostname", host]).await.unwrap();
            node.command(&["CONFIG", "SET", "cluster-preferred-endpoint-type", kind]).await.unwrap();
        }
        // The news travels with the next heartbeats.
        pass(Duration::from_secs(2)).await;
        let store = options().connect(&cluster.nodes()[0].url().replace("redis://", "redis-cluster://")).await.unwrap();
        for n in 0..20 {
            granted(&store, &request(&format!("job-{n}"), "a")).await;
        }
        assert_eq!(store.list("job-", None, 100).await.unwrap().len(), 20, "{kind} {host}");
    }
}

/// The server that evicts keys hangs while another one is connected again, and so all are checked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_kept_while_the_server_that_was_refused_does_not_answer() {
    let cluster = RedisCluster::start_with(3, &[("cluster-require-full-coverage", "no")]).await.unwrap();
    let options = options();
    let store = options.connect(&cluster.url()).await.unwrap();
    let evicts = async |policy: &str| {
        cluster.nodes()[0].command(&["CONFIG", "SET", "maxmemory-policy", policy]).await.unwrap();
    };
    let is_refused = async |name: &str| {
        acquire(&store, &request(name, "a")).await.is_err_and(|error| error.kind() == ErrorKind::Invalid)
    };
    evicts("allkeys-lru").await;
    eventually("the store has checked the servers again", async || {
        cluster.nodes()[0].command(&["CLIENT", "KILL", "TYPE", "normal"]).await.unwrap();
        is_refused("job").await
    })
    .await;
    let checks = async || {
        let stats = cluster.nodes()[1].command(&["INFO", "commandstats"]).await.unwrap().text();
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_info:calls="));
        line.and_then(|line| line.split(',').next()?.parse::<u32>().ok()).unwrap_or(0)
    };
    cluster.nodes()[0].freeze().await.unwrap();
    cluster.nodes()[1].command(&["CLIENT", "KILL", "TYPE", "normal"]).await.unwrap();
    let before = checks().await;
    let clock = SystemClock;
    let end = clock.now() + Duration::from_secs(3);
    let mut n = 0;
    while clock.now() < end {
        n += 1;
        assert!(is_refused(&format!("job-{n}")).await, "job-{n}");
        pass(Duration::from_millis(20)).await;
    }
    // Each call of the test counts, too.
    assert!(checks().await > before + 1, "the servers were not checked again");
    cluster.nodes()[0].thaw().await.unwrap();
    evicts("noeviction").await;
    eventually("names can be had", async || acquire(&store, &request("job", "a")).await.is_ok()).await;
}

/// A cluster with a name at its last server, which is moved to the first one while a store walks, and a proxy before each server.
async fn with_a_name_that_moves() -> (RedisCluster, Vec<Proxy>, RedisStoreOptions) {
    let cluster = RedisCluster::start(3).await.unwrap();
    // The index of names is not at the server that is to be slow.
    let mut options = options();
    while shard_of(&cluster, &options, " index").await == 2 {
        options = crate::common::options();
    }
    let [store, _] = listers(&cluster, &options).await;
    granted(&store, &request("{t}/job", "a")).await;
    let mut proxies = Vec::new();
    for node in cluster.nodes() {
        proxies.push(Proxy::start(node.address().unwrap()).await.unwrap());
    }
    cluster.announce(&proxies).await.unwrap();
    cluster.half_move(TAGGED, 2, 0, &[]).await.unwrap();
    (cluster, proxies, options)
}

/// Lists while the name moves: the first server is scanned before the last one, which moves the key there in between.
async fn list_while_it_moves(
    cluster: &RedisCluster,
    proxies: &[Proxy],
    walker: &RedisStore,
    options: &RedisStoreOptions,
) {
    // Less than the time limit of a probe.
    proxies[2].delay(Direction::Requests, Duration::from_millis(300));
    let listing = tokio::spawn({
        let walker = walker.clone();
        async move { walker.list("{t}/", None, 10).await }
    });
    pass(Duration::from_millis(150)).await;
    cluster.half_move(TAGGED, 2, 0, &[&format!("{}{{t}}/job", options.key_prefix)]).await.unwrap();
    assert_eq!(listing.await.unwrap().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s19_a_name_that_moves_to_a_server_that_was_scanned_is_listed() {
    let (cluster, proxies, options) = with_a_name_that_moves().await;
    let walker = options.clone().with_user("walker", "secret").connect(&cluster.url_through(&proxies)).await.unwrap();
    all_list(std::slice::from_ref(&walker), "{t}/", 1).await;
    list_while_it_moves(&cluster, &proxies, &walker, &options).await;
}

/// An index is complete if no grant is older. One that moves meanwhile is not overlooked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s19_an_index_is_not_complete_because_an_older_grant_moves() {
    let (cluster, proxies, options) = with_a_name_that_moves().await;
    let (index, at) = (format!("{} index", options.key_prefix), shard_of(&cluster, &options, " index").await);
    let created_later =
        "redis.call('DEL', KEYS[1]) redis.call('ZADD', KEYS[1], 0, '\\0' .. redis.call('TIME')[1] + 60)";
    cluster.nodes()[at].command(&["EVAL", created_later, "1", &index]).await.unwrap();
    let store = options.connect(&cluster.url_through(&proxies)).await.unwrap();
    list_while_it_moves(&cluster, &proxies, &store, &options).await;
    proxies[2].heal();
    for _ in 0..20 {
        pass(Duration::from_millis(50)).await;
        all_list(std::slice::from_ref(&store), "{t}/", 1).await;
    }
}
