//! A cluster of three members, some of which are killed, frozen or cut off.

use std::{sync::Arc, time::Duration};

use integration_tests::{Cluster, Contest, EtcdCluster};
use lease_core::{Clock, Error, LeaseClient, LeaseOptions, LeaseStore, LossReason, Moment, SystemClock, TryAcquired};
use lease_etcd::{EtcdStore, EtcdStoreOptions};

use crate::common::*;

const TTL: Duration = Duration::from_secs(3);

/// A leader change takes an election, and restarts the ttl of every etcd lease. A name may become free later by this time.
const LATE: Duration = Duration::from_secs(10);

/// Returns the members' URLs, this one first.
fn urls_from(cluster: &EtcdCluster, first: usize) -> Vec<String> {
    let mut urls = cluster.urls();
    urls.rotate_left(first);
    urls
}

async fn connect(options: &EtcdStoreOptions, urls: &[String]) -> EtcdStore {
    connect_in_order(options, urls).await
}

/// Contenders, each with all endpoints in an order of its own.
async fn contest(cluster: &EtcdCluster) -> Contest {
    // They all have the same prefix.
    let options = options();
    let mut stores: Vec<Arc<dyn LeaseStore>> = Vec::new();
    for number in 0..6 {
        stores.push(Arc::new(connect(&options, &urls_from(cluster, number % 3)).await));
    }
    Contest::start(stores, TTL, LATE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_stops_grants_only_for_a_moment() {
    let cluster = EtcdCluster::start().await;
    let contest = contest(&cluster).await;
    contest.outlives_the_leader(&cluster).await;
    println!("{} grants", contest.finish().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_leader_stops_grants_only_for_a_moment() {
    let cluster = EtcdCluster::start().await;
    let contest = contest(&cluster).await;
    contest.passes_a_frozen_leader(&cluster).await;
    println!("{} grants", contest.finish().await);
}

/// A lease of a few seconds survives the end of the member that its client is connected to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_outlives_the_member_of_its_client() {
    let cluster = EtcdCluster::start().await;
    let leader = cluster.leader().await.unwrap();
    // Not the leader, so that there is no election to wait for.
    let member = (leader + 1) % 3;
    let options = options();
    let client = LeaseClient::new(connect(&options, &urls_from(&cluster, member)).await);
    let ttl = TTL * 2;
    for is_frozen in [false, true] {
        let lease = client.acquire("job", LeaseOptions::new(ttl)).await.unwrap();
        // Harms all members but the leader, in turn, whichever is in use.
        for harmed in [member, (leader + 2) % 3] {
            if is_frozen {
                cluster.member(harmed).freeze().await.unwrap()
            } else {
                cluster.member(harmed).kill().await.unwrap()
            }
            pass(ttl + ttl / 2).await;
            assert!(lease.is_held(), "lost: {:?}", lease.state());
            if is_frozen {
                cluster.member(harmed).thaw().await.unwrap()
            } else {
                cluster.member(harmed).start_again().await.unwrap()
            }
        }
        lease.release().await.unwrap();
    }
}

/// A member that is cut off from the others still accepts calls. Its clients observe in time that their leases are lost,
/// acquire none, and do not hang. On the side of the quorum, grants go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_cut_off_grants_nothing() {
    let cluster = EtcdCluster::start().await;
    let options = options();
    let minority = cluster.leader().await.unwrap();
    let cut_off = connect(&options, &[urls_from(&cluster, minority)[0].clone()]).await;
    let majority = connect(&options, &urls_from(&cluster, (minority + 1) % 3)[..2]).await;
    let client = LeaseClient::new(cut_off.clone());
    let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();

    cluster.cut_off(minority).await.unwrap();
    let began = SystemClock.now();
    let rival = tokio::spawn({
        let client = LeaseClient::new(majority.clone());
        async move {
            let lease = client.acquire("job", LeaseOptions::new(TTL)).await.unwrap();
            (SystemClock.now(), lease)
        }
    });
    let reason = within("the loss", TTL + Duration::from_millis(500), lease.lost()).await;
    let lost: Moment = SystemClock.now().min(lease.valid_until());
    assert_eq!(reason, LossReason::Expired);
    let (won, rivals) = within("the majority grants it", TTL * 2 + LATE, rival).await.unwrap();
    assert!(won >= lost, "an overlap");
    println!("taken over {:?} after the cut", won.saturating_since(began));
    assert!(rivals.token() > lease.token());

    let attempt = within("an attempt at the minority", PATIENCE, acquire(&cut_off, &request("other", LONG))).await;
    assert!(matches!(&attempt, Err(error) if error.is_transient()), "{attempt:?}");
    let look = within("a look at the minority", PATIENCE, cut_off.inspect(&name("job"))).await;
    assert!(matches!(&look, Err(error) if error.is_transient()), "{look:?}");

    cluster.heal();
    rivals.release().await.unwrap();
    within("the minority is back", LATE, async {
        while !matches!(client.try_acquire("job", TTL).await, Ok(TryAcquired::Acquired(_))) {
            pass(Duration::from_millis(100)).await;
        }
    })
    .await;
}

/// A client with the endpoints of all members leaves a member that is cut off from the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_leaves_a_member_that_is_cut_off() {
    let cluster = EtcdCluster::start().await;
    let leader = cluster.leader().await.unwrap();
    let member = (leader + 1) % 3;
    let client = LeaseClient::new(connect(&options(), &urls_from(&cluster, member)).await);
    let ttl = TTL * 2;
    let lease = client.try_acquire("job", ttl).await.unwrap().acquired().unwrap();
    let waiting = LeaseClient::new(connect(&options(), &urls_from(&cluster, member)).await);
    cluster.cut_off(member).await.unwrap();
    pass(ttl + ttl / 2).await;
    assert!(lease.is_held(), "lost: {:?}", lease.state());
    let other = within("another member grants", LATE, waiting.acquire("other", LeaseOptions::new(ttl))).await;
    assert!(other.is_ok(), "{:?}", other.map(|_| ()).map_err(|error: Error| error.to_string()));
}

/// A member without a leader ends its watches, so that they go to another member, even when there are no calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_leaves_a_member_that_is_cut_off() {
    let cluster = EtcdCluster::start().await;
    let leader = cluster.leader().await.unwrap();
    let member = (leader + 1) % 3;
    let options = options();
    let waiting = connect(&options, &urls_from(&cluster, member)).await;
    let store = connect(&options, &urls_from(&cluster, leader)).await;
    let mut hints = waiting.subscribe(&name("job"));
    within("the watch stands", LATE, hints.next()).await;
    cluster.cut_off(member).await.unwrap();
    let (claim, _) = granted(&store, &request("job", LONG)).await;
    release(&store, &claim).await;
    within("the release", LATE, hints.next()).await;
}

/// The time until the name of a crashed holder is free: the rest of its ttl, and the time that etcd needs to find the expired
/// lease. If the leader fails as well, it is an election and the whole ttl again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l01_a_take_over_after_a_crash_takes_the_ttl_and_a_leader_change_starts_it_anew() {
    let cluster = EtcdCluster::start().await;
    let options = options();
    let holder = Arc::new(connect(&options, &cluster.urls()).await);
    let client = LeaseClient::new(connect(&options, &cluster.urls()).await);
    for is_leader_killed in [false, false, false, true] {
        granted(&holder, &request("job", TTL)).await;
        let began = SystemClock.now();
        let bound = if is_leader_killed {
            pass(TTL / 2).await;
            let leader = cluster.leader().await.unwrap();
            cluster.member(leader).kill().await.unwrap();
            TTL + TTL / 2 + LATE
        } else {
            TTL + Duration::from_secs(2)
        };
        let lease = within("the take-over", bound, client.acquire("job", TTL)).await.unwrap();
        let after = SystemClock.now().saturating_since(began);
        println!("leader killed: {is_leader_killed}; taken over {after:?} after the last sign of life, ttl {TTL:?}");
        assert!(after >= TTL.mul_f64(0.99), "too early: {after:?}");
        lease.release().await.unwrap();
    }
}
