//! Leases in a cluster of three servers, whose members are killed and frozen.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use integration_tests::{Cluster, Contest, ZooKeeperCluster, eventually, pass, within};
use lease_core::{
    AcquireRequest, Acquired, Clock, ExpiryJudge, GrantId, HolderId, LeaseClient, LeaseName, LeaseOptions, LeaseStore,
    SystemClock,
};
use lease_zookeeper::{ZooKeeperStore, ZooKeeperStoreOptions};
use tokio::task::JoinSet;

const TTL: Duration = Duration::from_secs(3);
/// The default slack on both sides.
const SLACK: Duration = Duration::from_secs(4);
/// An election, and the reconnects after it.
const LATE: Duration = Duration::from_secs(10);

/// Returns the addresses of all members, this one first.
fn addresses(cluster: &ZooKeeperCluster, first: usize) -> String {
    let mut addresses: Vec<_> = (0..3).map(|member| cluster.member(member).address().unwrap().to_string()).collect();
    addresses.rotate_left(first);
    addresses.join(",")
}

async fn connect(cluster: &ZooKeeperCluster, first: usize) -> ZooKeeperStore {
    let options = ZooKeeperStoreOptions::new().with_session_timeout(Duration::from_secs(3));
    options.connect(&addresses(cluster, first)).await.unwrap()
}

/// Contenders, each connected to a member of its own.
async fn contest(cluster: &ZooKeeperCluster) -> Contest {
    let mut stores: Vec<Arc<dyn LeaseStore>> = Vec::new();
    for number in 0..6 {
        stores.push(Arc::new(connect(cluster, number % 3).await));
    }
    Contest::start(stores, TTL, SLACK + LATE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_stops_grants_only_for_a_moment() {
    let cluster = ZooKeeperCluster::start().await.unwrap();
    let contest = contest(&cluster).await;
    for _ in 0..2 {
        contest.outlives_the_leader(&cluster).await;
    }
    println!("{} grants", contest.finish().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_leader_stops_grants_only_for_a_moment() {
    let cluster = ZooKeeperCluster::start().await.unwrap();
    let contest = contest(&cluster).await;
    contest.passes_a_frozen_leader(&cluster).await;
    println!("{} grants", contest.finish().await);
}

/// Leases are held on every member while the leader, and then each other member, is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_outlive_the_leader_and_the_member_of_their_client() {
    let cluster = ZooKeeperCluster::start().await.unwrap();
    let ttl = Duration::from_secs(12);
    let mut leases = Vec::new();
    for member in 0..3 {
        let client = LeaseClient::new(connect(&cluster, member).await);
        let lease = client.try_acquire(format!("job/{member}"), ttl).await.unwrap().acquired().unwrap();
        leases.push((client, lease));
    }
    let leader = cluster.leader().await.unwrap();
    for harmed in [leader, (leader + 1) % 3] {
        cluster.member(harmed).kill().await.unwrap();
        pass(ttl + ttl / 4).await;
        for (_, lease) in &leases {
            assert!(lease.is_held(), "lost: {:?}", lease.state());
        }
        cluster.member(harmed).start_again().await.unwrap();
    }
    let store = connect(&cluster, 0).await;
    for (_, lease) in leases {
        let record = store.inspect(lease.name()).await.unwrap().unwrap();
        assert_eq!(record.token, lease.token());
        lease.release().await.unwrap();
    }
}

/// A follower that has fallen behind shows what was granted meanwhile, because reads are preceded by `sync`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s19_a_follower_that_is_behind_catches_up_before_it_answers() {
    let cluster = ZooKeeperCluster::start().await.unwrap();
    let leader = cluster.leader().await.unwrap();
    let follower = cluster.member((leader + 1) % 3);
    let options = ZooKeeperStoreOptions::new();
    let ahead = options.connect(&cluster.member(leader).address().unwrap().to_string()).await.unwrap();
    let behind = options.connect(&follower.address().unwrap().to_string()).await.unwrap();
    for round in 0..20 {
        let name = LeaseName::new(format!("job/{round}")).unwrap();
        let holder = HolderId::new("one").unwrap();
        let request = AcquireRequest::new(name.clone(), holder, GrantId::random(), Duration::from_secs(300));
        follower.freeze().await.unwrap();
        let granted = ahead.acquire(&[request]).await.remove(0).unwrap();
        assert!(matches!(granted, Acquired::Granted(_)), "{granted:?}");
        let (looked, ()) = tokio::join!(behind.inspect(&name), async {
            pass(Duration::from_millis(100)).await;
            follower.thaw().await.unwrap();
        });
        assert!(looked.unwrap().is_some(), "round {round}");
    }
}

/// The name of a crashed holder is free after the ttl and the slack, and not before, also if the leader fails in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l01_a_take_over_after_a_crash_takes_the_ttl_and_the_slack() {
    let cluster = ZooKeeperCluster::start().await.unwrap();
    let holder = connect(&cluster, 0).await;
    let client = LeaseClient::new(connect(&cluster, 1).await);
    for is_leader_killed in [false, true] {
        let request =
            AcquireRequest::new("job".parse().unwrap(), HolderId::new("crashed").unwrap(), GrantId::random(), TTL);
        let granted = holder.acquire(&[request]).await.remove(0).unwrap();
        assert!(matches!(granted, Acquired::Granted(_)), "{granted:?}");
        let began = SystemClock.now();
        if is_leader_killed {
            let leader = cluster.leader().await.unwrap();
            cluster.member(leader).kill().await.unwrap();
        }
        let lease = within("the take-over", TTL + SLACK + LATE, client.acquire("job", LeaseOptions::new(TTL))).await;
        let after = SystemClock.now().saturating_since(began);
        println!("leader killed: {is_leader_killed}; taken over {after:?} after the last sign of life, ttl {TTL:?}");
        assert!(after >= TTL + SLACK.mul_f64(0.9), "too early: {after:?}");
        lease.unwrap().release().await.unwrap();
    }
}

/// Without believing any clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s02_contenders_take_over_after_watching() {
    let cluster = ZooKeeperCluster::start().await.unwrap();
    let options = ZooKeeperStoreOptions::new().with_expiry_judge(ExpiryJudge::Contenders);
    let holder = options.connect(&addresses(&cluster, 0)).await.unwrap();
    let client = LeaseClient::new(options.connect(&addresses(&cluster, 1)).await.unwrap());
    let request =
        AcquireRequest::new("job".parse().unwrap(), HolderId::new("crashed").unwrap(), GrantId::random(), TTL);
    let granted = holder.acquire(&[request]).await.remove(0).unwrap();
    assert!(matches!(granted, Acquired::Granted(_)), "{granted:?}");
    let began = SystemClock.now();
    let lease = within("the take-over", TTL * 2 + LATE, client.acquire("job", LeaseOptions::new(TTL))).await.unwrap();
    assert!(SystemClock.now().saturating_since(began) >= TTL);
    lease.release().await.unwrap();
}

/// 10 names, 12 racers on each of three members: one winner each, and one member that is killed during the second half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s14_one_racer_wins_each_name() {
    let cluster = ZooKeeperCluster::start().await.unwrap();
    let mut racers = JoinSet::new();
    for number in 0..36 {
        let store = connect(&cluster, number % 3).await;
        racers.spawn(async move {
            let mut won = Vec::new();
            for name in 0..10 {
                let name = LeaseName::new(format!("race-{name}")).unwrap();
                let holder = HolderId::new(format!("racer-{number}")).unwrap();
                let ttl = Duration::from_secs(600);
                let request = AcquireRequest::new(name.clone(), holder, GrantId::random(), ttl);
                loop {
                    // Whoever has no answer asks again, and wins only what it has won.
                    match store.acquire(std::slice::from_ref(&request)).await.remove(0) {
                        Ok(Acquired::Granted(grant)) => won.push((name, grant.token)),
                        Err(error) if error.is_transient() => {
                            pass(Duration::from_millis(50)).await;
                            continue;
                        }
                        Ok(_) => {}
                        Err(error) => panic!("{error}"),
                    }
                    break;
                }
            }
            won
        });
    }
    pass(Duration::from_millis(100)).await;
    let leader = cluster.leader().await.unwrap();
    cluster.member(leader).kill().await.unwrap();
    let won = within("the race", TTL + LATE * 3, racers.join_all()).await.concat();
    let winners: BTreeMap<_, _> = won.iter().cloned().collect();
    assert_eq!((won.len(), winners.len()), (10, 10), "{won:?}");
    eventually("another leads", async || cluster.leader().await.is_ok()).await;
}
