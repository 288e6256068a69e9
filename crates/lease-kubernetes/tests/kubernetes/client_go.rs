//! Candidates of client-go and ours contend for one Lease.

use std::time::{Duration, Instant};

use integration_tests::KubeApiserver;
use lease_core::{
    Acquired, Break, ErrorKind, Lease, LeaseClient, LeaseOptions, LeaseStore, LossReason, Released, Renewal, Renewed,
};
use lease_kubernetes::KubernetesStore;
use lease_testkit::calls::{
    acquired, claim, granted, holder, inspected, name, only, plain_release, release, renewal, request,
};
use tokio::time::sleep;

use crate::{
    common::{Admin, options},
    peer::{JudgesBy, Peer},
};

/// Kubernetes has whole seconds: it is written as 3 s, and a candidate of client-go would write 2 s.
const TTL: Duration = Duration::from_millis(2500);
const TICK: Duration = Duration::from_millis(50);

async fn namespace() -> (Admin, String) {
    let admin = Admin::of(KubeApiserver::shared().await).await;
    let namespace = admin.new_namespace().await;
    (admin, namespace)
}

async fn manual(store: &KubernetesStore) -> Lease {
    LeaseClient::new(store.clone()).acquire("job", LeaseOptions::new(TTL).with_renewal(Renewal::Manual)).await.unwrap()
}

/// Tries until it has the Lease. Returns after how long.
async fn wins(peer: &mut Peer) -> Duration {
    let began = Instant::now();
    while !peer.try_acquire_or_renew().await {
        sleep(TICK).await;
        assert!(began.elapsed() < TTL * 6, "the peer never wins");
    }
    began.elapsed()
}

#[tokio::test]
async fn a_peer_respects_our_lease_while_it_is_renewed() {
    let (admin, namespace) = namespace().await;
    let store = admin.store(&options(&namespace)).await;
    let client = LeaseClient::new(store);
    let lease = client.acquire("job", TTL).await.unwrap();
    let mut peers = [JudgesBy::OwnDuration, JudgesBy::ObservedDuration]
        .map(|judges_by| Peer::new(&admin, &namespace, "job", "peer", TTL).judging_by(judges_by));
    let began = Instant::now();
    while began.elapsed() < TTL * 2 {
        for peer in &mut peers {
            assert!(!peer.try_acquire_or_renew().await);
        }
        assert!(lease.is_held());
        sleep(TICK).await;
    }
    let released = Instant::now();
    lease.release().await.unwrap();
    wins(&mut peers[0]).await;
    assert!(released.elapsed() < TTL / 2, "a released Lease has no holder");
}

/// With both ways to judge, and so with both roundings.
#[tokio::test]
async fn a_peer_takes_our_lease_over_after_its_duration_and_we_have_lost_it() {
    for judges_by in [JudgesBy::OwnDuration, JudgesBy::ObservedDuration] {
        let (admin, namespace) = namespace().await;
        let (ours, others) = (admin.store(&options(&namespace)).await, admin.store(&options(&namespace)).await);
        let mut peer = Peer::new(&admin, &namespace, "job", "peer", TTL).judging_by(judges_by);
        let lease = manual(&ours).await;
        let first = lease.token();
        let won = wins(&mut peer).await;
        assert!(!lease.is_held(), "{judges_by:?}: two holders");
        assert!(won >= TTL && won < TTL * 2, "{won:?}");

        // Our record is still in its annotation, and its time is over (SOUNDNESS 4): it counts for nobody.
        let lost = lease.renew().await;
        assert!(lost.is_err(), "{lost:?}");
        let began = Instant::now();
        while began.elapsed() < TTL * 2 {
            assert!(peer.try_acquire_or_renew().await);
            let Acquired::Held { by: Some(by), retry_after: Some(_) } =
                acquired(&others, &request(name("job"), holder("other"), TTL)).await
            else {
                panic!("{judges_by:?}: the peer's Lease was taken");
            };
            assert_eq!((by.holder, by.ttl), (holder("peer"), Duration::from_secs(2)));
            assert!(by.token > first);
            sleep(TICK * 4).await;
        }
        // It crashes.
        let theirs = request(name("job"), holder("other"), TTL);
        let next = loop {
            if let Acquired::Granted(grant) = acquired(&others, &theirs).await {
                break grant;
            }
            sleep(TICK).await;
        };
        assert!(!peer.leads(), "{judges_by:?}: two leaders");
        assert!(next.token > first, "{} after {first}", next.token);
        assert!(!peer.try_acquire_or_renew().await);
    }
}

/// Both parts of SOUNDNESS 4 on the level of the store: by another process's read, and by the holder's own renewal.
#[tokio::test]
async fn s04_a_take_over_by_put_ends_our_grant_though_our_record_is_kept() {
    let (admin, namespace) = namespace().await;
    let (ours, others) = (admin.store(&options(&namespace)).await, admin.store(&options(&namespace)).await);
    let mine = request(name("job"), holder("pod-1"), TTL);
    let grant = granted(&ours, &mine).await;
    let held = claim(&mine, grant);
    let mut lease = admin.get(&namespace, "job").await;
    let record = lease["metadata"]["annotations"].clone();
    lease["spec"]["holderIdentity"] = "peer".into();
    lease["spec"]["leaseDurationSeconds"] = 30.into();
    assert_eq!(admin.put(&namespace, &lease).await.0, 200);
    assert_eq!(admin.get(&namespace, "job").await["metadata"]["annotations"], record);
    // By heart, the version has changed; the other process reads.
    for store in [&ours, &others] {
        let answer = only(store.renew(&[renewal(&held, TTL)]).await).unwrap();
        assert_eq!(answer, Renewed::Lost(LossReason::taken_over(holder("peer"), None)));
        assert_eq!(release(store, &held).await, Released::NotHeld);
        assert_eq!(inspected(store, &name("job")).await.unwrap().holder, holder("peer"));
        let error = store.break_lease(&name("job"), grant.token, Break::Now).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    sleep(TTL * 2).await;
    assert!(matches!(acquired(&others, &request(name("job"), holder("b"), TTL)).await, Acquired::Held { .. }));
    assert!(matches!(acquired(&ours, &mine).await, Acquired::Spent), "the nonce was used");
    assert_eq!(admin.get(&namespace, "job").await["spec"], lease["spec"], "nobody has changed it");
}

#[tokio::test]
async fn a_lease_that_a_peer_made_is_contended_for_and_its_release_frees_it() {
    let (admin, namespace) = namespace().await;
    let store = admin.store(&options(&namespace)).await;
    let mut peer = Peer::new(&admin, &namespace, "job", "peer", TTL);
    assert!(peer.try_acquire_or_renew().await);
    let mine = request(name("job"), holder("pod-1"), TTL);
    assert!(
        matches!(acquired(&store, &mine).await, Acquired::Held { by: Some(by), .. } if by.holder == holder("peer"))
    );
    peer.release().await;
    let held = claim(&mine, granted(&store, &mine).await);
    assert!(!peer.try_acquire_or_renew().await);
    let lease = admin.get(&namespace, "job").await;
    assert_eq!(lease["spec"]["leaseTransitions"], 1);
    // It was made without our label, which it has now.
    assert_eq!(store.list("", None, 9).await.unwrap().len(), 1);
    release(&store, &held).await;
    assert!(peer.try_acquire_or_renew().await);
    assert_eq!(admin.get(&namespace, "job").await["spec"]["leaseTransitions"], 2);
}

/// A waiter of ours is woken by the release of a peer.
#[tokio::test]
async fn l01_a_peers_release_is_pushed_to_our_waiters() {
    let (admin, namespace) = namespace().await;
    let store = admin.store(&options(&namespace)).await;
    let mine = request(name("job"), holder("pod-1"), TTL);
    let held = claim(&mine, granted(&store, &mine).await);
    release(&store, &held).await;
    let mut peer = Peer::new(&admin, &namespace, "job", "peer", Duration::from_secs(60));
    assert!(peer.try_acquire_or_renew().await);
    let client = LeaseClient::new(store);
    let waiting = tokio::spawn(async move { client.acquire("job", TTL).await });
    sleep(Duration::from_secs(2)).await;
    assert!(!waiting.is_finished());
    peer.release().await;
    let released = Instant::now();
    drop(waiting.await.unwrap().unwrap());
    assert!(released.elapsed() < Duration::from_millis(700), "{:?}", released.elapsed());
}

/// A name that is blocked for others looks held to them, for as long as it is blocked (F15).
#[tokio::test]
async fn a_blocked_name_is_held_for_peers_and_reserved_for_one() {
    let (admin, namespace) = namespace().await;
    let store = admin.store(&options(&namespace)).await;
    let hold_for = Duration::from_millis(3500);
    let block = async |successor: Option<&str>| {
        let mine = request(name("job"), holder("pod-1"), TTL);
        let held = claim(&mine, granted(&store, &mine).await);
        let release = plain_release(&held).with_hold_for(hold_for).with_reserved_for(successor.map(holder));
        assert_eq!(only(store.release(&[release]).await).unwrap(), Released::Freed);
    };
    block(None).await;
    let blocked = admin.get(&namespace, "job").await;
    assert_eq!(blocked["spec"]["holderIdentity"], "blocked");
    assert_eq!(blocked["spec"]["leaseDurationSeconds"], 4);
    let mut peer = Peer::new(&admin, &namespace, "job", "peer", TTL);
    let after = wins(&mut peer).await;
    assert!(after >= hold_for && after < hold_for * 2, "{after:?}");
    peer.release().await;

    block(Some("successor")).await;
    assert_eq!(admin.get(&namespace, "job").await["spec"]["holderIdentity"], "successor");
    assert!(!Peer::new(&admin, &namespace, "job", "peer", TTL).try_acquire_or_renew().await);
    assert!(Peer::new(&admin, &namespace, "job", "successor", TTL).try_acquire_or_renew().await);
}

#[tokio::test]
async fn a_grant_that_is_broken_stays_blocked_for_peers() {
    let (admin, namespace) = namespace().await;
    let store = admin.store(&options(&namespace)).await;
    let lease = manual(&store).await;
    store.break_lease(&name("job"), lease.token(), Break::AfterExpiry).await.unwrap();
    let spec = &admin.get(&namespace, "job").await["spec"];
    assert_eq!(spec["holderIdentity"], "blocked");
    assert!((1..=3).contains(&spec["leaseDurationSeconds"].as_u64().unwrap()), "{spec}");
    wins(&mut Peer::new(&admin, &namespace, "job", "peer", TTL)).await;
    assert!(!lease.is_held());
}
