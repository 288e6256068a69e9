//! Large batches of grants.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use integration_tests::{Direction, Etcd, Proxy};
use lease_core::{
    Acquired, Break, Clock, LeaseClient, LeaseOptions, LeaseStore, Metadata, ReleaseRequest, Released, RenewRequest,
    Renewed, SystemClock,
};
use lease_testkit::{Operation, RecordingStore};

use crate::common::*;

const MANY: usize = 10_000;

/// Ten thousand grants on one client are renewed with few requests. A grant that is released, dropped or broken frees its own
/// name at once, and no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_grants_are_renewed_with_few_requests() {
    // A server of its own, because other users would affect the numbers.
    let etcd = Etcd::start().await;
    let store = options().connect([etcd.url()]).await.unwrap();
    let recording = RecordingStore::new(Arc::new(store.clone()));
    let client = LeaseClient::new(recording.clone());
    let ttl = Duration::from_secs(15);

    let mut leases = Vec::new();
    let attempts = (0..MANY).map(|number| client.try_acquire(format!("job/{number}"), LeaseOptions::new(ttl)));
    for lease in join_all(attempts).await {
        leases.push(lease.unwrap().acquired().unwrap());
    }
    let acquires = recording.count(Operation::Acquire);
    assert!(acquires <= MANY / 20, "{acquires} calls for {MANY} grants");

    recording.clear();
    pass(ttl + ttl / 3).await;
    let (calls, renewals) = (recording.count(Operation::Renew), recording.elements(Operation::Renew));
    println!("{renewals} renewals in {calls} calls of the store");
    assert!(renewals >= 3 * MANY && calls <= renewals / 50, "{renewals} renewals in {calls} calls");
    assert!(leases.iter().all(|lease| lease.is_held()));

    let (released, dropped, broken) = (leases.pop().unwrap(), leases.pop().unwrap(), leases.pop().unwrap());
    let names = [&released, &dropped, &broken].map(|lease| lease.name().to_string());
    released.release().await.unwrap();
    drop(dropped);
    store.break_lease(broken.name(), broken.token(), Break::Now).await.unwrap();
    for name in &names {
        within("the name is free at once", Duration::from_secs(2), async { while !is_free(&store, name).await {} })
            .await;
    }
    within("the loss of the broken one", ttl / 2, broken.lost()).await;
    pass(ttl / 2).await;
    assert!(leases.iter().all(|lease| lease.is_held()), "a neighbour was hit");
    let mut listed = 0;
    let mut after = None;
    loop {
        let page = store.list("job/", after.as_ref(), 1000).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        listed += page.len();
    }
    assert_eq!(listed, MANY - 3);
    within("everything is released", PATIENCE, client.close()).await.unwrap();
    let left = store.list("", None, 10).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

/// For a server that allows few operations in a transaction, batches are split.
#[tokio::test]
async fn l07_a_batch_fits_the_limits_of_the_server() {
    let etcd = Etcd::start_local(&[("max-txn-ops", "20")]).await.unwrap();
    let store = options().connect([etcd.url()]).await.unwrap();
    for round in 0..2 {
        let requests: Vec<_> = (0..200).map(|number| request(&format!("{round}/{number}"), LONG)).collect();
        for answer in store.acquire(&requests).await {
            assert!(matches!(answer, Ok(Acquired::Granted(_))), "{answer:?}");
        }
    }
}

/// The largest batch with the largest metadata is larger than the server's limit for a request.
#[tokio::test]
async fn l07_a_batch_fits_into_requests_of_any_size() {
    for settings in [&[][..], &[("max-request-bytes", "100000")]] {
        let etcd = Etcd::start_local(settings).await.unwrap();
        let store = options().connect([etcd.url()]).await.unwrap();
        let metadata = Metadata::new([("k", "\"".repeat(Metadata::MAX_BYTES - 1))]).unwrap();
        let largest = |number| request(&format!("{number:0250}"), LONG).with_metadata(metadata.clone());
        let requests: Vec<_> = (0..256).map(largest).collect();
        for answer in store.acquire(&requests).await {
            assert!(matches!(answer, Ok(Acquired::Granted(_))), "{answer:?}");
        }
        // The answers are as large as the requests.
        for answer in store.acquire(&requests).await {
            assert!(matches!(answer, Ok(Acquired::Granted(_))), "{answer:?}");
        }
        assert_eq!(store.list("", None, 300).await.unwrap().len(), 256);
    }
}

/// S11, L7: many releases that keep their names blocked take as long as one, and leave no more etcd leases behind.
#[tokio::test]
async fn s11_many_names_are_held_blocked_together() {
    const HELD: usize = 200;
    let etcd = Etcd::start().await;
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let store = options().connect([etcd.url_through(&network)]).await.unwrap();
    let requests: Vec<_> = (0..HELD).map(|number| request(&format!("job/{number}"), LONG)).collect();
    let mut releases = Vec::new();
    for (number, (request, answer)) in requests.iter().zip(store.acquire(&requests).await).enumerate() {
        let Ok(Acquired::Granted(grant)) = answer else { panic!("unexpected answer: {answer:?}") };
        // Twenty times, which are rounded up to whole seconds.
        let hold_for = Duration::from_secs(3600 + number as u64 % 20) - Duration::from_millis(number as u64);
        releases.push(ReleaseRequest::new(claim(request, grant)).with_hold_for(hold_for));
    }
    let before = etcd.count_leases().await.unwrap();
    let round_trip = Duration::from_millis(100);
    network.delay(Direction::Answers, round_trip);
    let began = SystemClock.now();
    let released = store.release(&releases).await;
    let took = SystemClock.now().saturating_since(began);
    network.heal();
    assert!(released.iter().all(|released| matches!(released, Ok(Released::Freed))), "{released:?}");
    assert!(took < round_trip * 15, "{HELD} releases took {took:?}");
    assert_eq!(etcd.count_leases().await.unwrap(), before + 20);
    for record in store.list("", None, HELD + 1).await.unwrap() {
        assert!(record.released && record.remaining > Duration::from_secs(3500), "{record:?}");
    }
    assert_eq!(store.list("", None, HELD + 1).await.unwrap().len(), HELD);
}

/// An etcd lease that was created for a release without effect is revoked.
#[tokio::test]
async fn s11_a_release_that_is_none_leaves_no_etcd_lease() {
    let etcd = Etcd::start().await;
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let store = options().connect([etcd.url_through(&network)]).await.unwrap();
    let mut driver = etcd_client::Client::connect([etcd.url()], None).await.unwrap();
    let (claim, _) = granted(&store, &request("job", LONG)).await;
    let before = etcd.count_leases().await.unwrap();
    let delay = Duration::from_millis(300);
    network.delay(Direction::Requests, delay);
    let key = store.key(&claim.name);
    let wish = ReleaseRequest::new(claim).with_hold_for(LONG);
    let (released, ()) = tokio::join!(async { only(store.release(&[wish]).await) }, async {
        // After the key was read.
        pass(delay + delay / 2).await;
        driver.delete(key, None).await.unwrap();
    });
    network.heal();
    assert_eq!(released.unwrap(), Released::NotHeld);
    eventually("it is revoked", async || (etcd.count_leases().await.unwrap() == before).then_some(())).await;
}

/// L7: the buckets of all ttls are created in parallel.
#[tokio::test]
async fn l07_many_ttls_take_as_long_as_one() {
    let etcd = Etcd::start().await;
    let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
    let store = options().connect([etcd.url_through(&network)]).await.unwrap();
    let round_trip = Duration::from_millis(100);
    network.delay(Direction::Answers, round_trip);
    let requests: Vec<_> =
        (0..50).map(|number| request(&format!("job/{number}"), Duration::from_secs(100 + number))).collect();
    let began = SystemClock.now();
    let answers = store.acquire(&requests).await;
    let took = SystemClock.now().saturating_since(began);
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Acquired::Granted(_)))), "{answers:?}");
    assert!(took < round_trip * 10, "acquired in {took:?}");
    let renewals: Vec<_> = requests
        .iter()
        .zip(answers)
        .map(|(request, answer)| match answer {
            Ok(Acquired::Granted(grant)) => {
                let ttl = request.ttl + Duration::from_secs(1000);
                RenewRequest::new(claim(request, grant), ttl)
            }
            other => panic!("unexpected answer: {other:?}"),
        })
        .collect();
    let began = SystemClock.now();
    let renewed = store.renew(&renewals).await;
    let took = SystemClock.now().saturating_since(began);
    assert!(renewed.iter().all(|renewed| matches!(renewed, Ok(Renewed::Extended { .. }))), "{renewed:?}");
    assert!(took < round_trip * 10, "renewed in {took:?}");
}

/// L2: names that are known to be held are read, whether one or many, and no member writes anything.
#[tokio::test]
async fn l02_repeated_requests_for_held_names_write_nothing() {
    let etcd = Etcd::start().await;
    let store = options().connect([etcd.url()]).await.unwrap();
    let mut driver = etcd_client::Client::connect([etcd.url()], None).await.unwrap();
    let requests: Vec<_> = (0..200).map(|number| request(&format!("job/{number}"), LONG)).collect();
    for answer in store.acquire(&requests).await {
        assert!(matches!(answer, Ok(Acquired::Granted(_))), "{answer:?}");
    }
    let waiting: Vec<_> = (0..200).map(|number| request(&format!("job/{number}"), LONG)).collect();
    let ask = async || {
        for answer in store.acquire(&waiting).await {
            assert!(matches!(answer, Ok(Acquired::Held { by: Some(_), .. })), "{answer:?}");
        }
    };
    // These are attempts, because the store has not observed yet that the names are held.
    ask().await;
    let before = driver.status().await.unwrap().raft_index();
    for _ in 0..10 {
        ask().await;
    }
    assert_eq!(driver.status().await.unwrap().raft_index(), before);
}
