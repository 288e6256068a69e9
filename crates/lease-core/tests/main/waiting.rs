//! Waiters that come and go: the name is asked for all the same, and what one of them was told is not lost with it.

use std::time::Duration;

use lease_core::{Clock, ErrorKind, Lease, LeaseClient, LeaseOptions, Result, Retry, SystemClock, TokioClock};
use lease_memory::MemoryStore;
use lease_testkit::{Fault, Operation};
use tokio::task::JoinHandle;

use crate::support::{TTL, TroubledStore, builder, chaos, client_of, pass, settle, within};

const SECOND: Duration = Duration::from_secs(1);

/// A name whose holder has crashed: nobody hints at its end.
async fn held_by_a_crashed_client(store: &TroubledStore, ttl: Duration) {
    crate::support::client(store).try_acquire("job", ttl).await.unwrap().acquired().unwrap().abandon();
}

/// A task that waits for it.
fn wait(client: &LeaseClient) -> JoinHandle<Result<Lease>> {
    let client = client.clone();
    tokio::spawn(async move { client.acquire("job", TTL).await })
}

#[tokio::test(start_paused = true)]
async fn l02_waits_that_are_shorter_than_the_poll_win_a_name_whose_holder_has_crashed() {
    for limit in [Duration::from_millis(100), Duration::from_millis(500), SECOND] {
        let (store, clock) = (TroubledStore::new(), TokioClock::new());
        let client = crate::support::client(&store);
        held_by_a_crashed_client(&store, SECOND * 5).await;
        let began = clock.now();
        let mut waiters = tokio::task::JoinSet::new();
        for n in 0..2 {
            let (client, options) = (client.clone(), LeaseOptions::new(TTL).with_wait_limit(limit));
            waiters.spawn(async move {
                clock.sleep_until(clock.now() + limit / 2 * n).await;
                loop {
                    if let Ok(lease) = client.acquire("job", &options).await {
                        return lease;
                    }
                }
            });
        }
        let won = within(SECOND * 60, waiters.join_next()).await;
        assert!(won.is_some(), "with limits of {limit:?} nobody won in a minute");
        let took = clock.now().saturating_since(began);
        assert!(took <= SECOND * 6, "with limits of {limit:?} it took {took:?}");
    }
}

/// A store that charges for requests is asked as rarely as it declares, and no store is asked all the time.
#[tokio::test(start_paused = true)]
async fn l02_a_store_is_polled_as_rarely_as_it_declares() {
    for (declared, interval) in [(SECOND * 20, SECOND * 20), (SECOND, SECOND), (Duration::ZERO, SECOND / 100)] {
        let store = TroubledStore::new().without_push().with_poll_interval(declared);
        held_by_a_crashed_client(&store, interval * 1000).await;
        let client = crate::support::client(&store);
        let before = store.calls("acquire").len();
        let waits = wait(&client);
        let clock = TokioClock::new();
        clock.sleep_until(clock.now() + interval * 200).await;
        let tried = store.calls("acquire").len() - before;
        assert!((100..=201).contains(&tried), "polled {tried} times in 200 intervals of {interval:?}");
        waits.abort();
    }
}

/// A watch reads every two intervals.
#[tokio::test(start_paused = true)]
async fn l05_a_watch_reads_as_rarely_as_the_store_declares() {
    let interval = SECOND * 20;
    let store = TroubledStore::new().without_push().with_poll_interval(interval);
    let client = crate::support::client(&store);
    let mut watch = client.watch("job").unwrap();
    assert!(watch.next().await.unwrap().unwrap().is_none());
    let lease = crate::support::client(&store).try_acquire("job", interval * 10).await.unwrap().acquired().unwrap();
    assert!(within(interval, watch.next()).await.is_none(), "it was read before two intervals were over");
    let seen = within(interval * 2, watch.next()).await;
    assert_eq!(seen.unwrap().unwrap().unwrap().unwrap().token, lease.token());
}

/// In real time: which of the tasks moves first is what matters.
#[test]
fn l02_a_wait_beside_a_tick_wins_a_name_whose_holder_has_crashed() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let (store, clock) = (MemoryStore::with_clock(SystemClock), SystemClock);
        let client = LeaseClient::new(store.clone());
        LeaseClient::new(store).try_acquire("job", SECOND).await.unwrap().acquired().unwrap().abandon();
        let began = clock.now();
        let lease = tokio::spawn(async move {
            loop {
                tokio::select! {
                    lease = client.acquire("job", TTL) => return lease.unwrap(),
                    () = clock.sleep_until(clock.now() + Duration::from_millis(200)) => {}
                }
                assert!(clock.now().saturating_since(began) < SECOND * 10, "a free name was not won");
            }
        });
        drop(lease.await.unwrap());
    });
}

#[tokio::test(start_paused = true)]
async fn l01_a_hint_outlives_the_waiter_for_which_it_was_taken() {
    let (store, clock) = (TroubledStore::new(), TokioClock::new());
    let (holder, client) = (crate::support::client(&store), crate::support::client(&store));
    let held = holder.try_acquire("job", TTL * 10).await.unwrap().acquired().unwrap();
    let first = wait(&client);
    settle().await;
    let second = wait(&client);
    settle().await;
    // Others are in flight, so that the attempt of the first one, woken by the release, stands in the queue for a moment.
    for n in 0..2 {
        let client = client.clone();
        tokio::spawn(async move { client.try_acquire(format!("hang{n}"), TTL).await.map(drop) });
        settle().await;
    }
    held.release().await.unwrap();
    settle().await;
    first.abort();
    settle().await;
    let began = clock.now();
    let lease = second.await.unwrap().unwrap();
    assert!(lease.is_held());
    let took = clock.now().saturating_since(began);
    assert!(took < Duration::from_millis(100), "{took:?} after the release");
}

#[tokio::test(start_paused = true)]
async fn l02_a_name_that_is_said_never_to_be_free_is_asked_for_again_at_the_poll() {
    let store = TroubledStore::new();
    let client = crate::support::client(&store);
    store.say_never(true);
    let waiting = wait(&client);
    settle().await;
    store.say_never(false);
    let won = within(SECOND * 5, waiting).await;
    assert!(won.unwrap().unwrap().unwrap().is_held());
}

#[tokio::test(start_paused = true)]
async fn a_free_name_is_acquired_however_short_the_limit() {
    let client = crate::support::client(&TroubledStore::new());
    for limit in [Duration::ZERO, Duration::from_nanos(1)] {
        let lease = client.acquire("job", LeaseOptions::new(TTL).with_wait_limit(limit)).await.unwrap();
        let error = client.acquire("job", LeaseOptions::new(TTL).with_wait_limit(limit)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WaitLimit);
        assert!(error.to_string().contains("held by another holder"), "{error}");
        lease.release().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn s19_a_store_that_does_not_answer_is_not_said_to_be_contention() {
    let client = crate::support::client(&TroubledStore::new());
    let error = client.acquire("hang", LeaseOptions::new(TTL).with_wait_limit(SECOND * 3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WaitLimit);
    assert!(error.to_string().contains("no answer") && !error.to_string().contains("held"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test(start_paused = true)]
async fn l02_a_thousand_that_begin_to_wait_at_once_ask_for_it_as_one() {
    let store = TroubledStore::new();
    let (holder, client) = (crate::support::client(&store), crate::support::client(&store));
    let held = holder.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    let before = store.calls("acquire").len();
    let mut waiters = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let client = client.clone();
        waiters.spawn(async move { client.acquire("job", TTL).await.map(drop) });
    }
    pass(SECOND / 2).await;
    let attempts = store.calls("acquire").len() - before;
    assert!(attempts <= 10, "{attempts} attempts");
    held.release().await.unwrap();
    while let Some(outcome) = waiters.join_next().await {
        outcome.unwrap().unwrap();
    }
}

/// Whatever becomes of the first one, the others go on at once.
#[tokio::test(start_paused = true)]
async fn l02_who_comes_while_the_first_one_asks_is_served_whatever_becomes_of_that_one() {
    for ends in ["granted", "dropped"] {
        let (store, clock) = (TroubledStore::new(), TokioClock::new());
        let client = crate::support::client(&store);
        store.close_gate();
        let first = wait(&client);
        settle().await;
        let second = wait(&client);
        settle().await;
        if ends == "dropped" {
            first.abort();
        }
        let began = clock.now();
        store.open_gate();
        if let Ok(lease) = first.await {
            lease.unwrap().release().await.unwrap();
        }
        let lease = within(SECOND * 60, second).await;
        assert!(lease.unwrap().unwrap().unwrap().is_held());
        let took = clock.now().saturating_since(began);
        assert!(took < SECOND / 10, "{ends}: {took:?}");
    }
}

/// The first one asks, and is neither polled nor dropped after that, as in a `select!` whose other branch is long.
#[tokio::test(start_paused = true)]
async fn l02_who_comes_while_one_asks_that_is_not_polled_any_more_is_served() {
    let (store, clock) = (TroubledStore::new(), TokioClock::new());
    let client = crate::support::client(&store);
    store.close_gate();
    let mut first = Box::pin(client.acquire("job", TTL));
    assert!(futures::poll!(&mut first).is_pending());
    settle().await;
    let second = wait(&client);
    settle().await;
    let began = clock.now();
    store.open_gate();
    let lease = within(SECOND * 60, second).await.unwrap().unwrap().unwrap();
    // Until the grant that the first one does not take has ended, if there was one.
    let took = clock.now().saturating_since(began);
    assert!(took <= TTL + SECOND * 2, "{took:?}");
    // The first one waits in line, like any other caller.
    let third = wait(&client);
    lease.release().await.unwrap();
    let won = within(SECOND * 60, async {
        tokio::select! { won = first => won, won = third => won.unwrap() }
    })
    .await;
    assert!(won.unwrap().unwrap().is_held());
}

/// A hint that was taken for a waiter whose attempt then fails for good is not lost for the next one.
#[tokio::test(start_paused = true)]
async fn l01_a_hint_outlives_the_failure_of_the_waiter_for_which_it_was_taken() {
    let (chaos, clock) = (chaos(), TokioClock::new());
    let [holder, client] = [(); 2].map(|()| client_of(&chaos));
    let held = holder.try_acquire("job", TTL * 10).await.unwrap().acquired().unwrap();
    let (third, options) = (client.clone(), LeaseOptions::new(TTL).with_retry(Retry::new(1)));
    // One opens the line, so that the attempts of the others are the contender's.
    let opener = wait(&client);
    settle().await;
    let first = tokio::spawn(async move { third.acquire("job", options).await });
    settle().await;
    let second = wait(&client);
    settle().await;
    opener.abort();
    settle().await;
    chaos.inject(Fault::Fail(ErrorKind::Unavailable).on(Operation::Acquire).once());
    held.release().await.unwrap();
    let began = clock.now();
    assert_eq!(first.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(second.await.unwrap().unwrap().is_held());
    let took = clock.now().saturating_since(began);
    assert!(took < Duration::from_millis(100), "{took:?} after the release");
}

#[tokio::test(start_paused = true)]
async fn l01_without_push_the_waiters_of_one_client_are_woken_by_its_own_releases() {
    let (store, clock) = (TroubledStore::new().without_push(), TokioClock::new());
    let [client, other] = [(); 2].map(|()| builder(&store).build());
    for (holder, longest) in [(&client, Duration::from_millis(10)), (&other, Duration::from_secs(2))] {
        let held = holder.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
        let waiting = tokio::spawn({
            let client = client.clone();
            async move { client.acquire("job", TTL).await }
        });
        settle().await;
        pass(Duration::from_millis(2500)).await;
        let began = clock.now();
        held.release().await.unwrap();
        let won = waiting.await.unwrap().unwrap();
        let took = clock.now().saturating_since(began);
        assert!(took <= longest, "{took:?}");
        won.release().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_policy_paces_and_limits_the_attempts_while_the_store_fails() {
    // A hint would end a pause early.
    let store = TroubledStore::new().without_push();
    let client = crate::support::client(&store);
    // Its calls never come back: each attempt fails after its timeout, a sixth of the ttl.
    let retry = Retry::new(3).with_delays(SECOND * 20, SECOND * 60).with_jitter(0.0);
    let began = client.clock().now();
    let error = client.acquire("hang", LeaseOptions::new(TTL).with_retry(retry)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate);
    let took = client.clock().now().saturating_since(began);
    assert_eq!(store.calls("acquire").len(), 3);
    let expected = TTL / 6 * 3 + SECOND * 20 + SECOND * 40;
    assert!(took >= expected && took < expected + SECOND, "{took:?} instead of {expected:?}");
}
