//! Clients that wait for a name: by push and by poll, in line, and with a limit (L1, L2, L4, S20).

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use lease_core::{ErrorKind, LeaseEvent, LeaseOptions};
use tokio::task::JoinSet;

use crate::{
    Hints, Operation, Outcome, RecordingStore,
    bench::Bench,
    calls::{held, name},
    recorded_events::RecordedEvents,
};

/// A waiter survives a cut of the store, and wins afterwards.
pub async fn s19_a_waiter_outlives_a_cut(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    let (holder, waiter) = (bench.client_of(bench.chaos_store().await), bench.client_of(chaos.clone()));
    let lease = held(&holder, &name("job"), bench.ttl).await;
    let token = lease.token();
    let ttl = bench.ttl;
    let waits = tokio::spawn(async move { waiter.acquire("job", ttl).await });
    bench.sleep(bench.ttl / 4).await;
    bench.cut().await;
    bench.expect_within("the holder loses its lease", bench.ttl + bench.tolerance(), lease.lost()).await;
    bench.sleep(bench.ttl / 2).await;
    assert!(!waits.is_finished(), "the waiter ended during the cut");
    bench.heal().await;
    let won = bench
        .expect_within(
            "the waiter wins",
            bench.longest_poll(holder.capabilities()) + bench.ttl * 2 + bench.tolerance(),
            waits,
        )
        .await
        .expect("no panic");
    assert!(won.expect("acquired").token() > token);
}

/// A wait ends at its limit, whether the name is held or the store does not answer. The error tells which.
pub async fn a_wait_limit_is_kept(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    let client = bench.client_of(chaos.clone());
    let other = bench.client().await;
    let _lease = held(&other, &name("job"), bench.ttl * 30).await;
    let limit = bench.ttl / 2;
    let options = LeaseOptions::new(bench.ttl).with_wait_limit(limit);
    for is_frozen in [false, true] {
        if is_frozen {
            bench.freeze().await;
        }
        let began = bench.now();
        let waiting = client.acquire("job", &options);
        let error = bench.expect_within("the wait ends", limit + bench.tolerance(), waiting).await.expect_err("held");
        assert_eq!(error.kind(), ErrorKind::WaitLimit, "{error}");
        assert!(bench.now().saturating_since(began) >= limit, "the wait ended before its limit");
    }
    bench.thaw().await;
}

/// After a release a waiter wins by push, without waiting for its next poll. Without push it wins by the next poll.
pub async fn l01_a_waiter_wins_as_soon_as_the_lease_is_released(bench: &Bench) {
    let recorded = RecordingStore::new(bench.store().await);
    let (holder, waiter) = (bench.client().await, bench.client_of(recorded.clone()));
    let limit = if waiter.capabilities().push {
        Duration::from_millis(800)
    } else {
        bench.longest_poll(waiter.capabilities()) + bench.tolerance()
    };
    for _ in 0..2 {
        let lease = held(&holder, &name("job"), bench.ttl * 30).await;
        let waits = wait_in_line(bench, &waiter, &recorded, bench.ttl).await;
        // The next poll is at least an interval away.
        lease.release().await.expect("release answers");
        let won = bench.expect_within("the waiter wins", limit, waits).await.expect("no panic").expect("acquired");
        won.release().await.expect("release answers");
    }
}

/// After a crash of the holder a waiter wins when the ttl is over, and not before.
pub async fn l01_a_waiter_wins_after_a_crash_of_the_holder(bench: &Bench) {
    let (holder, waiter) = (bench.client().await, bench.client().await);
    let lease = held(&holder, &name("job"), bench.ttl).await;
    let until = lease.valid_until();
    let token = lease.token();
    lease.abandon();
    let limit = bench.rounded(bench.ttl, waiter.capabilities()) + bench.tolerance();
    let won = bench.expect_within("the waiter wins", limit, waiter.acquire("job", bench.ttl)).await.expect("acquired");
    assert!(bench.now() >= until, "the waiter won before the ttl was over");
    assert!(won.token() > token);
}

/// Lost hints only delay a waiter, because it also polls.
pub async fn s20_lost_hints_cost_only_time(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    chaos.set_hints(Hints::Dropped);
    let recorded = RecordingStore::new(Arc::new(chaos));
    let (holder, waiter) = (bench.client().await, bench.client_of(recorded.clone()));
    let lease = held(&holder, &name("job"), bench.ttl * 30).await;
    let waits = wait_in_line(bench, &waiter, &recorded, bench.ttl).await;
    lease.release().await.expect("release answers");
    let won = bench
        .expect_within(
            "the waiter wins by its poll",
            bench.longest_poll(holder.capabilities()) + bench.tolerance(),
            waits,
        )
        .await
        .expect("no panic");
    assert!(won.expect("acquired").is_held());
}

/// A forged hint causes an attempt, and never a grant.
pub async fn s20_forged_hints_grant_nothing(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    chaos.set_hints(Hints::Forged);
    let recorded = RecordingStore::new(Arc::new(chaos.clone()));
    let (holder, waiter) = (bench.client().await, bench.client_of(recorded.clone()));
    let lease = held(&holder, &name("job"), bench.ttl * 30).await;
    let waits = tokio::spawn(async move { waiter.acquire("job", LeaseOptions::new(Duration::from_secs(30))).await });
    for _ in 0..20 {
        chaos.forge_hint(lease.name());
        bench.sleep(Duration::from_millis(10)).await;
        assert!(!waits.is_finished() && lease.is_held());
    }
    assert_eq!(recorded.outcomes(Operation::Acquire, |outcome| matches!(outcome, Outcome::Granted(_))), 0);
    lease.release().await.expect("release answers");
    bench.sleep(Duration::from_millis(10)).await;
    chaos.forge_hint(&name("job"));
    let won = bench
        .expect_within("the waiter wins", bench.longest_poll(holder.capabilities()) + bench.tolerance(), waits)
        .await
        .expect("no panic");
    assert!(won.expect("acquired").is_held());
}

/// Of the tasks of one client that wait for a name, only one contends.
pub async fn l02_one_process_sends_one_contender(bench: &Bench) {
    let recorded = RecordingStore::new(bench.store().await);
    let (holder, waiter) = (bench.client().await, bench.client_of(recorded.clone()));
    let lease = held(&holder, &name("job"), bench.ttl * 30).await;
    let mut waits = JoinSet::new();
    let first = wait_in_line(bench, &waiter, &recorded, bench.ttl).await;
    for _ in 0..30 {
        let (waiter, options) = (waiter.clone(), LeaseOptions::new(bench.ttl));
        waits.spawn(async move { waiter.acquire("job", options).await });
    }
    recorded.clear();
    let time = Duration::from_secs(3);
    bench.sleep(time).await;
    let calls = recorded.count(Operation::Acquire) + recorded.count(Operation::Inspect);
    assert!(calls <= 4, "{calls} calls in {time:?} for one name");
    assert!(waits.try_join_next().is_none() && !first.is_finished());
    drop(lease);
}

/// The waiters of one client are served in the order of their calls.
pub async fn l02_waiters_of_one_process_are_served_in_order(bench: &Bench) {
    let events = RecordedEvents::default();
    let (holder, waiter) = (bench.client().await, bench.builder().await.observer(events.clone()).build());
    let lease = held(&holder, &name("job"), bench.ttl * 30).await;
    let (mut waits, order) = (JoinSet::new(), Arc::<Mutex<Vec<usize>>>::default());
    for number in 0..6 {
        let (waiter, order, options) = (waiter.clone(), Arc::clone(&order), LeaseOptions::new(bench.ttl * 10));
        waits.spawn(async move {
            let lease = waiter.acquire("job", options).await.expect("acquired");
            order.lock().unwrap_or_else(PoisonError::into_inner).push(number);
            lease.release().await.expect("release answers");
        });
        let in_line = async || {
            (events.count(|event| matches!(event, LeaseEvent::WaitStarted { .. })) == number + 1).then_some(())
        };
        bench.poll("the task is in line", bench.tolerance(), in_line).await;
        bench.sleep(Duration::from_millis(20)).await;
    }
    lease.release().await.expect("release answers");
    bench
        .expect_within(
            "all waiters are served",
            bench.longest_poll(holder.capabilities()) * 6 + bench.tolerance(),
            waits.join_all(),
        )
        .await;
    assert_eq!(*order.lock().unwrap_or_else(PoisonError::into_inner), [0, 1, 2, 3, 4, 5]);
}

/// A waiter that was dropped, or is not polled any more, does not delay others.
pub async fn l02_a_waiter_that_has_gone_holds_up_nobody(bench: &Bench) {
    let events = RecordedEvents::default();
    let (holder, waiter) = (bench.client().await, bench.builder().await.observer(events.clone()).build());
    let lease = held(&holder, &name("job"), bench.ttl * 30).await;
    let waiting = || events.count(|event| matches!(event, LeaseEvent::WaitStarted { .. }));
    let dropped = tokio::spawn({
        let (waiter, ttl) = (waiter.clone(), bench.ttl);
        async move { waiter.acquire("job", ttl).await }
    });
    bench.poll("the task is in line", bench.tolerance(), async || (waiting() == 1).then_some(())).await;
    let mut unpolled = pin!(waiter.acquire("job", bench.ttl));
    bench
        .poll("the task is in line", bench.tolerance(), async || {
            poll_fn(|context| Poll::Ready(unpolled.as_mut().poll(context).is_ready())).await;
            (waiting() == 2).then_some(())
        })
        .await;
    let third = tokio::spawn({
        let (waiter, ttl) = (waiter.clone(), bench.ttl);
        async move { waiter.acquire("job", ttl).await }
    });
    bench.poll("the task is in line", bench.tolerance(), async || (waiting() == 3).then_some(())).await;
    dropped.abort();
    lease.release().await.expect("release answers");
    // The second waiter is granted the lease. It is not polled, so it has not returned, and the client renews the lease for
    // it. When that task is dropped too, the lease is released.
    let hint_delay =
        if holder.capabilities().push { Duration::ZERO } else { bench.longest_poll(holder.capabilities()) };
    bench.sleep(hint_delay + bench.ttl / 2).await;
    let mut unpolled = Some(unpolled);
    if !third.is_finished() {
        drop(poll_fn(|context| Poll::Ready(unpolled.as_mut().map(|it| it.as_mut().poll(context)))).await);
    }
    let won = bench
        .expect_within(
            "the third waiter wins",
            bench.longest_poll(holder.capabilities()) * 2 + bench.ttl + bench.tolerance(),
            third,
        )
        .await;
    assert!(won.expect("no panic").expect("acquired").is_held());
}

/// `try_acquire` makes one attempt. It neither waits nor stands in line.
pub async fn l02_a_try_never_queues(bench: &Bench) {
    let recorded = RecordingStore::new(bench.store().await);
    let (holder, client) = (bench.client().await, bench.client_of(recorded.clone()));
    let lease = held(&holder, &name("job"), bench.ttl * 30).await;
    let waits = wait_in_line(bench, &client, &recorded, bench.ttl).await;
    recorded.clear();
    let tried = bench.expect_soon("the attempt ends", client.try_acquire("job", bench.ttl)).await;
    assert!(tried.expect("answers").acquired().is_none());
    assert!(recorded.count(Operation::Acquire) >= 1, "no call to the store");
    waits.abort();
    lease.release().await.expect("release answers");
}

/// A waiter ends at once when its client is closed.
pub async fn l04_a_waiter_ends_when_its_client_is_closed(bench: &Bench) {
    let recorded = RecordingStore::new(bench.store().await);
    let (holder, waiter) = (bench.client().await, bench.client_of(recorded.clone()));
    let _lease = held(&holder, &name("job"), bench.ttl * 30).await;
    let waits = wait_in_line(bench, &waiter, &recorded, bench.ttl).await;
    bench.expect_soon("close ends", waiter.close()).await.expect("closed");
    let outcome = bench.expect_soon("the waiter ends", waits).await.expect("no panic");
    assert!(outcome.is_err_and(|error| error.kind() == ErrorKind::Closed));
}

type Waits = tokio::task::JoinHandle<lease_core::Result<lease_core::Lease>>;

/// Spawns a task of this client that waits for `job`. Returns after its first attempts have failed; its next poll is at
/// least an interval away.
async fn wait_in_line(
    bench: &Bench,
    client: &lease_core::LeaseClient,
    recorded: &RecordingStore,
    ttl: Duration,
) -> Waits {
    recorded.clear();
    let waits = tokio::spawn({
        let client = client.clone();
        async move { client.acquire("job", ttl).await }
    });
    // With push, the first hint causes a second attempt.
    let attempts = if client.capabilities().push { 2 } else { 1 };
    let limit = bench.longest_poll(client.capabilities()) + bench.tolerance();
    bench
        .poll("the waiter has tried", limit, async || {
            let lost = recorded.outcomes(Operation::Acquire, |outcome| matches!(outcome, Outcome::Held));
            (lost >= attempts && recorded.in_flight() == 0).then_some(())
        })
        .await;
    waits
}
