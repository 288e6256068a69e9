//! A watch that ends, a history that is gone, objects that are deleted, clocks that differ, data that go back.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use integration_tests::{Direction, KubeApiserver, Proxy, eventually};
use lease_core::{Acquired, ExpiryJudge, Lease, LeaseClient, LeaseOptions, LeaseStore, LossReason, Renewal};
use lease_kubernetes::{KubernetesStore, KubernetesStoreOptions};
use lease_testkit::calls::{acquired, claim, extended, granted, holder, name, release, request};
use tokio::time::sleep;

use crate::{
    common::{ADMIN, Admin, config, options},
    requests::Recorder,
};

const TTL: Duration = Duration::from_secs(30);

/// A waiter gets a lease that is released, sooner than a poll would find it: 1 s at the least.
async fn is_pushed(own: &KubernetesStore, waiter: &LeaseClient) {
    let job = request(name("job"), holder("holder"), TTL);
    let held = claim(&job, granted(own, &job).await);
    let waiting = tokio::spawn({
        let waiter = waiter.clone();
        async move { waiter.acquire("job", TTL).await }
    });
    sleep(Duration::from_millis(1500)).await;
    let began = Instant::now();
    release(own, &held).await;
    let lease = waiting.await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
    lease.release().await.unwrap();
}

#[tokio::test]
async fn a_watch_that_ends_or_breaks_comes_back() {
    let server = KubeApiserver::shared().await;
    let namespace = Admin::of(server).await.new_namespace().await;
    let network = Proxy::start(server.address().unwrap()).await.unwrap();
    let own = options(&namespace).connect_with(config(server.url(), ADMIN).await).await.unwrap();
    let recorder = Recorder::default();
    // The server ends each stream after two seconds.
    recorder.change(|request| {
        let uri = request.uri().to_string().replace("timeoutSeconds=60", "timeoutSeconds=2");
        *request.uri_mut() = uri.parse().unwrap();
    });
    let client = recorder.client(config(&server.url_through(&network), ADMIN).await);
    let waiter = LeaseClient::new(options(&namespace).with_client(client).await.unwrap());
    is_pushed(&own, &waiter).await;
    recorder.take();
    sleep(Duration::from_secs(3)).await;
    is_pushed(&own, &waiter).await;
    let seen = recorder.take();
    assert!(seen.iter().any(|verb| verb == "WATCH"), "{seen:?}");
    assert!(!seen.iter().any(|verb| verb == "LIST"), "it continues where it ended: {seen:?}");
    network.reset_connections();
    network.refuse_connections();
    sleep(Duration::from_secs(1)).await;
    network.heal();
    sleep(Duration::from_secs(1)).await;
    is_pushed(&own, &waiter).await;
}

#[tokio::test]
async fn a_watch_whose_history_is_gone_begins_anew() {
    // Its etcd keeps a history of one or two seconds.
    let server =
        KubeApiserver::start_local(&[("watch-cache", "false"), ("etcd-compaction-interval", "1s")]).await.unwrap();
    let namespace = Admin::of(&server).await.new_namespace().await;
    let own = options(&namespace).connect_with(config(server.url(), ADMIN).await).await.unwrap();
    let recorder = Recorder::default();
    let client = recorder.client(config(server.url(), ADMIN).await);
    let waiter = LeaseClient::new(options(&namespace).with_client(client).await.unwrap());
    recorder.take();
    sleep(Duration::from_secs(4)).await;
    let is_first = AtomicBool::new(true);
    recorder.change(move |request| {
        let uri = request.uri().to_string();
        if uri.contains("watch=1") && is_first.swap(false, Ordering::SeqCst) {
            let at = uri.find("resourceVersion=").unwrap();
            *request.uri_mut() = format!("{}resourceVersion=1", &uri[..at]).parse().unwrap();
        }
    });
    is_pushed(&own, &waiter).await;
    let seen: Vec<_> = recorder.take().into_iter().filter(|verb| ["LIST", "WATCH"].contains(&verb.as_str())).collect();
    assert_eq!(seen, ["LIST", "WATCH", "LIST", "WATCH"]);
}

#[tokio::test]
async fn s06_the_deletion_of_a_lease_is_told_to_its_holder() {
    let server = KubeApiserver::shared().await;
    let admin = Admin::of(server).await;
    let namespace = admin.new_namespace().await;
    let client = LeaseClient::new(admin.store(&options(&namespace)).await);
    let lease = client.acquire("job", TTL).await.unwrap();
    sleep(Duration::from_millis(1500)).await;
    assert!(lease.is_held());
    admin.delete(&namespace, "job").await;
    let began = Instant::now();
    let lost = lease.lost().await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(lost, LossReason::Gone);
}

/// The judge, the seconds by which the answers to the holder and to the contender are ahead, in turn, and whether both hold.
type Case = (ExpiryJudge, &'static [i64], &'static [i64], bool);

const SLACK: ExpiryJudge = ExpiryJudge::ServersWallClocks { slack: Duration::from_secs(2) };

/// API servers whose clocks differ. Within twice the slack nobody is early. Beyond it two hold, which shows that this test would
/// see it; and contenders that believe no clock are never early.
#[tokio::test]
async fn s03_clocks_that_differ_are_borne_within_twice_the_slack() {
    let cases: [Case; 4] = [
        (SLACK, &[0, 3], &[3, 0], false),
        (SLACK, &[0], &[3], false),
        (SLACK, &[0], &[10], true),
        (ExpiryJudge::Contenders, &[0, 10], &[10, 0], false),
    ];
    let outcomes = futures::future::join_all(cases.map(|case| async move { (case, both_hold(case).await) })).await;
    for (case, outcome) in outcomes {
        assert_eq!(outcome, case.3, "{case:?}");
    }
}

async fn both_hold((judge, own, theirs, _): Case) -> bool {
    let server = KubeApiserver::shared().await;
    let namespace = Admin::of(server).await.new_namespace().await;
    let open = async |ahead: &[i64]| {
        let recorder = Recorder::default();
        recorder.set_ahead(ahead);
        let client = recorder.client(config(server.url(), ADMIN).await);
        options(&namespace).with_expiry_judge(judge).with_client(client).await.unwrap()
    };
    let (own, contender) = (open(own).await, open(theirs).await);
    let options = LeaseOptions::new(Duration::from_secs(6)).with_renewal(Renewal::Manual);
    let lease: Lease = LeaseClient::new(own).acquire("job", options).await.unwrap();
    let began = Instant::now();
    while !matches!(acquired(&contender, &request(name("job"), holder("b"), TTL)).await, Acquired::Granted(_)) {
        sleep(Duration::from_millis(100)).await;
        assert!(began.elapsed() < Duration::from_secs(40), "never taken over");
    }
    lease.is_held()
}

/// A Lease that was restored into a cluster with a smaller revision: the record knows the last token (S9).
#[tokio::test]
async fn s09_tokens_rise_after_a_restore_into_a_younger_cluster() {
    const LAST: u64 = 900_000_000_000;
    let admin = Admin::of(KubeApiserver::shared().await).await;
    for is_foreign in [false, true] {
        let namespace = admin.new_namespace().await;
        let store = admin.store(&options(&namespace)).await;
        let mine = request(name("job"), holder("pod-1"), TTL);
        let grant = granted(&store, &mine).await;
        let held = claim(&mine, grant);
        extended(&store, &held, TTL).await;
        release(&store, &held).await;
        let mut lease = admin.get(&namespace, "job").await;
        let annotation = &mut lease["metadata"]["annotations"]["app-runtime-leases/record"];
        let (old, new) = (format!(r#""token":{}"#, grant.token), format!(r#""token":{LAST}"#));
        *annotation = annotation.as_str().unwrap().replace(&old, &new).into();
        if is_foreign {
            lease["spec"]["renewTime"] = "2020-01-01T00:00:00.000000Z".into();
        }
        admin.delete(&namespace, "job").await;
        lease["metadata"]
            .as_object_mut()
            .unwrap()
            .retain(|key, _| ["name", "annotations", "labels"].contains(&key.as_str()));
        assert_eq!(admin.post(&namespace, &lease).await.0, 201);
        let restored = admin.store(&options(&namespace)).await;
        let next = request(name("job"), holder("pod-2"), TTL);
        let grant = granted(&restored, &next).await;
        let held = claim(&next, grant);
        assert_eq!(grant.token.get(), LAST + 1);
        extended(&restored, &held, TTL).await;
        release(&restored, &held).await;
        let last = request(name("job"), holder("pod-3"), TTL);
        assert_eq!(granted(&restored, &last).await.token.get(), LAST + 2);
    }
}

/// A server that does not answer: the future of a call that is given up closes its connection, and the next call opens another.
#[tokio::test]
async fn s24_a_connection_whose_call_was_abandoned_is_closed() {
    let server = KubeApiserver::shared().await;
    let namespace = Admin::of(server).await.new_namespace().await;
    let network = Proxy::start(server.address().unwrap()).await.unwrap();
    let store = options(&namespace).connect_with(config(&server.url_through(&network), ADMIN).await).await.unwrap();
    let job = request(name("job"), holder("a"), TTL);
    let held = claim(&job, granted(&store, &job).await);
    let before = network.connections();
    network.black_hole(Direction::Both);
    for _ in 0..20 {
        let given_up = tokio::time::timeout(Duration::from_millis(50), store.inspect(&job.name)).await;
        assert!(given_up.is_err());
    }
    network.heal();
    extended(&store, &held, TTL).await;
    eventually("old connections close", async || network.connections() <= before.max(6)).await;
}

/// The default options, through `KubernetesStoreOptions::new`.
#[tokio::test]
async fn the_default_is_a_slack_of_two_seconds() {
    let judge = KubernetesStoreOptions::new().expiry_judge;
    assert_eq!(judge, ExpiryJudge::ServersWallClocks { slack: Duration::from_secs(2) });
}
