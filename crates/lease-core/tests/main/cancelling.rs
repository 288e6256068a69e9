//! Every future of this library may be dropped at any await (S15): it leaves no grant, or one that is released in the
//! background, and nobody renews it.

use std::{future::Future, sync::Arc, time::Duration};

use lease_core::{Break, HolderId, LeaseClient, LeaseOptions, Metadata, Released, WakeupRegistry};

use crate::support::{TTL, TroubledStore, builder, client, drop_after, is_free, pass, settle};

/// More polls than any future here needs.
const POLLS: usize = 40;

/// For every k: what the future leaves when it is dropped after k polls, alone and behind others.
async fn for_every_poll<F, Fut>(busy: bool, scenario: F)
where
    F: Fn(TroubledStore, LeaseClient, usize) -> Fut,
    Fut: Future<Output = bool>,
{
    let mut completed = 0;
    for polls in 0..POLLS {
        let store = TroubledStore::new();
        let client = client(&store);
        let neighbours =
            tokio::spawn({
                let client = client.clone();
                async move {
                    let others =
                        futures::future::join_all((0..if busy { 5 } else { 0 }).map(|n| {
                            let client = client.clone();
                            async move {
                                client.try_acquire(format!("neighbour-{n}"), TTL).await.unwrap().acquired().unwrap()
                            }
                        }));
                    others.await
                }
            });
        if busy {
            tokio::task::yield_now().await;
        }
        completed += usize::from(scenario(store.clone(), client.clone(), polls).await);
        let neighbours = neighbours.await.unwrap();
        assert!(neighbours.iter().all(|lease| lease.is_held()), "a neighbour was harmed after {polls} polls");
        settle().await;
        assert!(is_free(&store, "job").await, "a grant was left after {polls} polls");
        drop(neighbours);
        pass(TTL * 3).await;
        assert_eq!(store.calls("renew").len(), 0, "an ownerless grant was renewed after {polls} polls");
    }
    assert!(
        (1..POLLS).contains(&completed),
        "the future must complete for some k and be dropped for others: {completed}"
    );
}

#[tokio::test(start_paused = true)]
async fn s15_try_acquire() {
    for busy in [false, true] {
        for_every_poll(busy, |_, client, polls| async move { drop_after(polls, client.try_acquire("job", TTL)).await })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn s15_acquire_of_a_free_name() {
    for busy in [false, true] {
        for_every_poll(busy, |_, client, polls| async move { drop_after(polls, client.acquire("job", TTL)).await })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn s15_acquire_that_waits() {
    for options in [LeaseOptions::new(TTL), LeaseOptions::new(TTL).with_wait_limit(TTL)] {
        for_every_poll(false, |_, client, polls| {
            let options = options.clone();
            async move {
                let held = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
                let waiting = drop_after(polls, client.acquire("job", options));
                let releasing = async {
                    settle_a_little().await;
                    held.release().await.unwrap();
                };
                tokio::join!(waiting, releasing).0
            }
        })
        .await;
    }
}

async fn settle_a_little() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn s15_release() {
    for busy in [false, true] {
        for_every_poll(busy, |_, client, polls| async move {
            let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
            let handle = lease.handle();
            let completed = drop_after(polls, lease.release()).await;
            assert!(!handle.is_held());
            completed
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn s12_from_the_call_of_release_on_a_lease_is_not_held() {
    let store = TroubledStore::new();
    let client = client(&store);
    let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    let handle = lease.handle();
    let releasing = lease.release();
    assert!(!handle.is_held(), "before the future is polled");
    assert_eq!(releasing.await.unwrap(), Released::Freed);
}

#[tokio::test(start_paused = true)]
async fn s15_hand_over() {
    for polls in 0..POLLS {
        let store = TroubledStore::new();
        let [holder, successor] = ["a", "b"].map(|id| builder(&store).holder(HolderId::new(id).unwrap()).build());
        let lease = holder.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
        drop_after(polls, lease.hand_over(HolderId::new("b").unwrap(), TTL)).await;
        settle().await;
        assert!(!client(&store).try_acquire("job", TTL).await.unwrap().is_acquired(), "after {polls} polls");
        assert!(successor.try_acquire("job", TTL).await.unwrap().is_acquired(), "after {polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn s15_break() {
    for how in [Break::AfterExpiry, Break::Now] {
        for polls in 0..POLLS {
            let store = TroubledStore::new();
            let holder = client(&store);
            let lease = holder.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
            drop_after(polls, client(&store).break_lease("job", lease.token(), how)).await;
            settle().await;
            let _ = lease.renew().await;
            assert_eq!(lease.is_held(), polls == 0, "once polled, it is done; after {polls} polls");
        }
    }
}

/// Those that only look or wait: the lease is as it was, and they can be begun again.
#[tokio::test(start_paused = true)]
async fn s15_looking_and_waiting() {
    for polls in 0..POLLS {
        let store = TroubledStore::new();
        let client = client(&store);
        let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
        let mut watch = client.watch("job").unwrap();
        drop_after(polls, client.inspect("job")).await;
        drop_after(polls, client.list("", None, 10)).await;
        drop_after(polls, lease.lost()).await;
        drop_after(polls, lease.closing()).await;
        let was_told = drop_after(polls, watch.next()).await;
        let working = Arc::new(());
        let work = Arc::clone(&working);
        drop_after(
            polls,
            lease.while_held(async move {
                settle().await;
                drop(work);
            }),
        )
        .await;
        assert_eq!(Arc::strong_count(&working), 1, "the work goes with its future, after {polls} polls");
        settle().await;
        assert!(lease.is_held(), "after {polls} polls");
        assert_eq!(client.inspect("job").await.unwrap().unwrap().token, lease.token());
        assert_eq!(client.list("", None, 10).await.unwrap().len(), 1);
        if !was_told {
            let record = watch.next().await.unwrap().unwrap();
            assert_eq!(record.unwrap().token, lease.token(), "a state was lost after {polls} polls");
        }
        lease.release().await.unwrap();
        assert_eq!(watch.next().await.unwrap().unwrap(), None, "after {polls} polls");
        assert!(is_free(&store, "job").await);
    }
}

/// A hint that came while nobody waited is there for the next who does.
#[tokio::test(start_paused = true)]
async fn s15_waiting_for_a_hint() {
    for polls in 0..POLLS {
        let (wakeups, name) = (WakeupRegistry::default(), "job".parse().unwrap());
        let mut subscription = wakeups.subscribe(&name);
        drop_after(polls, subscription.next()).await;
        wakeups.wake(&name);
        assert!(drop_after(1, subscription.next()).await, "a hint was lost after {polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn s15_run() {
    for_every_poll(false, |_, client, polls| async move {
        let work = client.run("job", TTL, |lease| async move {
            settle_a_little().await;
            assert!(lease.is_held());
        });
        drop_after(polls, work).await
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn s15_renew_and_set_metadata() {
    for polls in 0..POLLS {
        let store = TroubledStore::new();
        let client = client(&store);
        let options = LeaseOptions::new(TTL).with_renewal(lease_core::Renewal::Manual);
        let lease = client.try_acquire("job", options).await.unwrap().acquired().unwrap();
        pass(Duration::from_secs(5)).await;
        let before = lease.valid_until();
        let metadata = Metadata::new([("zone", "b")]).unwrap();
        drop_after(polls, lease.set_metadata(metadata.clone())).await;
        settle().await;
        let record = client.inspect("job").await.unwrap().unwrap();
        assert_eq!(record.metadata == metadata, polls > 0, "after {polls} polls");
        assert_eq!(
            lease.valid_until() > before,
            polls > 0,
            "a renewal that the store did must count, after {polls} polls"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn s15_close() {
    for polls in 0..POLLS {
        let store = TroubledStore::new();
        let client = client(&store);
        let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
        drop_after(polls, client.close()).await;
        settle().await;
        assert_eq!((lease.is_held(), is_free(&store, "job").await), (polls == 0, polls > 0), "after {polls} polls");
    }
}
