//! Panics of what an application or a provider brings: no other lease, request or thread suffers.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use lease_core::{
    Clock, ErrorKind, Lease, LeaseClient, LeaseEvent, LeaseOptions, LeaseState, Observer, Renewal, SystemClock,
    TokioClock,
};
use lease_memory::MemoryStore;

use crate::support::{TTL, TroubledStore, pass, settle};

const SECOND: Duration = Duration::from_secs(1);

/// Panics about everything that happens to names that begin with `bad`.
#[derive(Debug)]
struct Panics;

impl Observer for Panics {
    fn observe(&self, event: &LeaseEvent) {
        if let LeaseEvent::Lost { name, .. } | LeaseEvent::Released { name, .. } = event {
            assert!(!name.as_str().starts_with("bad"), "a defect in the observer");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn l07_an_observer_that_panics_about_one_lease_harms_no_other() {
    let store = TroubledStore::new();
    let client = crate::support::builder(&store).observer(Panics).build();
    let healthy = client.try_acquire("good", TTL).await.unwrap().acquired().unwrap();
    let options = LeaseOptions::new(SECOND).with_renewal(Renewal::Manual);
    let (one, two) = (client.try_acquire("bad1", &options).await, client.try_acquire("bad2", &options).await);
    let lost = (one.unwrap().acquired().unwrap(), two.unwrap().acquired().unwrap());
    pass(SECOND * 5).await;
    assert!(!lost.0.is_held() && !lost.1.is_held());
    assert_eq!(healthy.state(), LeaseState::Held);
    drop(lost);
    for _ in 0..10 {
        pass(SECOND * 5).await;
    }
    assert_eq!(healthy.state(), LeaseState::Held, "it is renewed still");
}

#[tokio::test(start_paused = true)]
async fn l07_what_is_queued_behind_a_call_that_panics_is_answered_at_once() {
    let (store, clock) = (TroubledStore::new(), TokioClock::new());
    let client = crate::support::client(&store);
    store.close_gate();
    let try_acquire = |name: &'static str| {
        let client = client.clone();
        tokio::spawn(async move {
            let outcome = client.try_acquire(name, TTL).await.map(drop).map_err(|error| error.kind());
            (outcome, clock.now())
        })
    };
    let busy = try_acquire("busy");
    settle().await;
    // A name stands once in a call, so the second `job` stays behind the call that panics.
    let (poisonous, first, second) = (try_acquire("panic"), try_acquire("job"), try_acquire("job"));
    let began = clock.now();
    settle().await;
    store.open_gate();
    for answer in [poisonous, first, second] {
        let (outcome, at) = answer.await.unwrap();
        assert!(at.saturating_since(began) < SECOND, "{outcome:?} after {:?}", at.saturating_since(began));
    }
    assert_eq!(busy.await.unwrap().0, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_store_is_an_error_of_the_call() {
    let client = crate::support::client(&TroubledStore::new());
    for error in [
        client.try_acquire("panic", TTL).await.map(drop).unwrap_err(),
        client.acquire("panic", TTL).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.to_string().contains("a defect in the provider"), "{error}");
    }
}

/// Drops the leases that it has as soon as a release fails.
#[derive(Debug, Clone, Default)]
struct Drops(Arc<Mutex<Vec<Lease>>>);

impl Observer for Drops {
    fn observe(&self, event: &LeaseEvent) {
        if let LeaseEvent::Released { outcome: Err(error), .. } = event
            && error.kind() == ErrorKind::Unavailable
        {
            let leases = std::mem::take(&mut *self.0.lock().unwrap());
            drop(leases);
        }
    }
}

#[test]
fn an_observer_may_drop_a_lease() {
    let (done, finished) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let drops = Drops::default();
            let store = TroubledStore::on(MemoryStore::with_clock(SystemClock));
            let client = LeaseClient::builder(store.clone()).observer(drops.clone()).build();
            let [long, short] = [2000, 1100].map(|millis| {
                // Alike, so that they share the calls.
                LeaseOptions::new(SECOND * 60).with_attempt_timeout(Duration::from_millis(millis))
            });
            let last = client.try_acquire("last", &short).await.unwrap().acquired().unwrap();
            let mut leases = Vec::new();
            for n in 0..9 {
                leases.push(client.try_acquire(format!("job{n}"), &long).await.unwrap().acquired().unwrap());
            }
            let victim = client.try_acquire("victim", &long).await.unwrap().acquired().unwrap();
            drops.0.lock().unwrap().push(victim);
            // All calls that may be made at a time hang, so that the last release gives up in the queue.
            store.close_gate();
            let mut releases = tokio::task::JoinSet::new();
            for lease in leases {
                releases.spawn(lease.release());
                SystemClock.sleep_until(SystemClock.now() + Duration::from_millis(60)).await;
            }
            assert_eq!(last.release().await.unwrap_err().kind(), ErrorKind::Unavailable);
            assert!(drops.0.lock().unwrap().is_empty(), "the observer was not told");
        });
        done.send(()).unwrap();
    });
    finished.recv_timeout(SECOND * 20).expect("the thread hangs, or has panicked");
}

#[tokio::test(start_paused = true)]
async fn l02_a_name_whose_subscription_panics_is_polled_for() {
    let (store, clock) = (TroubledStore::new(), TokioClock::new());
    let (holder, client) = (crate::support::client(&store), crate::support::client(&store));
    let held = holder.try_acquire("mute", TTL).await.unwrap().acquired().unwrap();
    let mut watch = client.watch("mute").unwrap();
    let waiting = tokio::spawn(async move { client.acquire("mute", TTL).await.map(|lease| lease.token()) });
    assert!(watch.next().await.unwrap().unwrap().is_some());
    pass(SECOND / 2).await;
    let attempts = store.calls("acquire").len();
    assert!(attempts <= 3, "{attempts} attempts in half a second");
    let token = held.token();
    held.release().await.unwrap();
    let released = clock.now();
    assert!(waiting.await.unwrap().unwrap() > token);
    assert!(clock.now().saturating_since(released) <= SECOND * 2);
    assert!(watch.next().await.unwrap().is_ok());
}
