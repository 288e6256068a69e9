//! Three servers, some of which are killed or frozen.

use std::{sync::Arc, time::Duration};

use integration_tests::{Cluster, ConsulCluster, Contest, pass, within};
use lease_consul::{ConsulStore, ConsulStoreOptions};
use lease_core::{Clock, LeaseClient, LeaseOptions, LeaseStore, SystemClock};
use lease_testkit::{
    calls::{granted, holder, name, request},
    race,
};

const TTL: Duration = Duration::from_secs(3);
/// An election, and the time for which a request waits for its end.
const LATE: Duration = Duration::from_secs(10);

async fn connect(cluster: &ConsulCluster, member: usize) -> ConsulStore {
    ConsulStoreOptions::new().connect(cluster.member(member).url()).await.unwrap()
}

/// Two contenders on each server.
async fn contest(cluster: &ConsulCluster) -> Contest {
    let mut stores: Vec<Arc<dyn LeaseStore>> = Vec::new();
    for number in 0..6 {
        stores.push(Arc::new(connect(cluster, number % 3).await));
    }
    Contest::start(stores, TTL, LATE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_stops_grants_only_for_a_moment() {
    let cluster = ConsulCluster::start().await.unwrap();
    let contest = contest(&cluster).await;
    for _ in 0..2 {
        contest.outlives_the_leader(&cluster).await;
    }
    println!("{} grants", contest.finish().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_leader_stops_grants_only_for_a_moment() {
    let cluster = ConsulCluster::start().await.unwrap();
    let contest = contest(&cluster).await;
    contest.passes_a_frozen_leader(&cluster).await;
    println!("{} grants", contest.finish().await);
}

/// The servers of the clients stay; their leader does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_outlive_the_leader() {
    let cluster = ConsulCluster::start().await.unwrap();
    let ttl = Duration::from_secs(12);
    let leader = cluster.leader().await.unwrap();
    let mut leases = Vec::new();
    for member in [(leader + 1) % 3, (leader + 2) % 3] {
        let client = LeaseClient::new(connect(&cluster, member).await);
        let lease = client.try_acquire(format!("job/{member}"), ttl).await.unwrap().acquired().unwrap();
        leases.push((client, lease));
    }
    cluster.member(leader).kill().await.unwrap();
    pass(ttl + ttl / 4).await;
    let store = connect(&cluster, (leader + 1) % 3).await;
    for (_, lease) in leases {
        assert!(lease.is_held(), "lost: {:?}", lease.state());
        let record = store.inspect(lease.name()).await.unwrap().unwrap();
        assert_eq!(record.token, lease.token());
        lease.release().await.unwrap();
    }
}

/// A follower that is behind asks the leader: Consul's default reads would show what was there before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s19_a_follower_that_is_behind_does_not_answer_from_what_it_has() {
    let cluster = ConsulCluster::start().await.unwrap();
    let leader = cluster.leader().await.unwrap();
    let follower = cluster.member((leader + 1) % 3);
    let (ahead, behind) = (connect(&cluster, leader).await, connect(&cluster, (leader + 1) % 3).await);
    for round in 0..20 {
        let job = name(&format!("job/{round}"));
        follower.freeze().await.unwrap();
        granted(&ahead, &request(job.clone(), holder("one"), Duration::from_secs(300))).await;
        let (looked, ()) = tokio::join!(behind.inspect(&job), async {
            pass(Duration::from_millis(100)).await;
            follower.thaw().await.unwrap();
        });
        assert!(looked.unwrap().is_some(), "round {round}");
    }
}

/// The name of a crashed holder is free after the ttl, and not before, also if the leader fails in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l01_a_take_over_after_a_crash_takes_the_ttl() {
    let cluster = ConsulCluster::start().await.unwrap();
    let leader = cluster.leader().await.unwrap();
    let holder_store = connect(&cluster, (leader + 1) % 3).await;
    let client = LeaseClient::new(connect(&cluster, (leader + 2) % 3).await);
    granted(&holder_store, &request(name("job"), holder("crashed"), TTL)).await;
    let began = SystemClock.now();
    cluster.member(leader).kill().await.unwrap();
    let lease = within("the take-over", TTL * 2 + LATE, client.acquire("job", LeaseOptions::new(TTL))).await.unwrap();
    let after = SystemClock.now().saturating_since(began);
    println!("taken over {after:?} after the last sign of life, ttl {TTL:?}");
    assert!(after >= TTL.mul_f64(0.9), "too early: {after:?}");
    lease.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s14_one_racer_wins_each_name() {
    let cluster = ConsulCluster::start().await.unwrap();
    let mut stores: Vec<Arc<dyn LeaseStore>> = Vec::new();
    for member in 0..3 {
        stores.push(Arc::new(connect(&cluster, member).await));
    }
    race(&stores, 36, (0..10).map(|number| name(&format!("race-{number}")))).await;
}
