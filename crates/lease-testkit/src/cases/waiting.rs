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
    seen::Seen,
};

/// The longest poll of a waiter behind the push.
const POLL: Duration = Duration::from_secs(2);

/// Whoever waits while the store is cut off goes on waiting, and wins afterwards.
pub async fn s19_a_waiter_outlives_a_cut(bench: &Bench) {
    let chaos = bench.chaos().await;
    let (holder, waiter) = (bench.client_of(bench.chaos().await), bench.client_of(chaos.clone()));
    let lease = held(&holder, &name("job"), bench.ttl).await;
    let token = lease.token();
    let ttl = bench.ttl;
    let waits = tokio::spawn(async move { waiter.acquire("job", ttl).await });
    bench.pass(bench.ttl / 4).await;
    bench.cut().await;
    bench.within("the holder loses it", bench.ttl + bench.patience(), lease.lost()).await;
    bench.pass(bench.ttl / 2).await;
    assert!(!waits.is_finished(), "it has given up, or won from nowhere");
    bench.heal().await;
    let won = bench.within("the waiter wins", POLL + bench.ttl * 2 + bench.patience(), waits).await.expect("no panic");
    assert!(won.expect("acquired").token() > token);
}

/// The limit of a waiter is kept, whether the name is held or the store is silent; the error says which.
pub async fn a_wait_limit_is_kept(bench: &Bench) {
    let chaos = bench.chaos().await;
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
        let error = bench.within("the wait ends", limit + bench.patience(), waiting).await.expect_err("held");
        assert_eq!(error.kind(), ErrorKind::WaitLimit, "{error}");
        assert!(bench.now().saturating_since(began) >= limit, "too early");
    }
    bench.thaw().await;
}

/// After a clean release a waiter wins by push, without waiting for its poll. Without push, by its poll.
pub async fn l01_a_waiter_wins_as_soon_as_the_lease_is_released(bench: &Bench) {
    let recorded = RecordingStore::new(bench.store().await);
    let (holder, waiter) = (bench.client().await, bench.client_of(recorded.clone()));
    let limit = if waiter.capabilities().push { Duration::from_millis(800) } else { POLL + bench.patience() };
    for _ in 0..2 {
        let lease = held(&holder, &name("job"), bench.ttl * 30).await;
        let waits = wait_in_line(bench, &waiter, &recorded, bench.ttl).await;
        // Its next poll is at least a second away.
        lease.release().await.expect("release answers");
        let won = bench.within("the waiter wins", limit, waits).await.expect("no panic").expect("acquired");
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
    let limit = bench.rounded(bench.ttl, waiter.capabilities()) + bench.patience();
    let won = bench.within("the waiter wins", limit, waiter.acquire("job", bench.ttl)).await.expect("acquired");
    assert!(bench.now() >= until, "two holders");
    assert!(won.token() > token);
}

/// Hints that are lost cost time only: there is a poll behind them.
pub async fn s20_lost_hints_cost_only_time(bench: &Bench) {
    let chaos = bench.chaos().await;
    chaos.set_hints(Hints::Dropped);
    let recorded = RecordingStore::new(Arc::new(chaos));
    let (holder, waiter) = (bench.client().await, bench.client_of(recorded.clone()));
    let lease = held(&holder, &name("job"), bench.ttl * 30).await;
    let waits = wait_in_line(bench, &waiter, &recorded, bench.ttl).await;
    lease.release().await.expect("release answers");
    let won = bench.within("the waiter wins by its poll", POLL + bench.patience(), waits).await.expect("no panic");
    assert!(won.expect("acquired").is_held());
}

/// A forged hint is an attempt, and never a grant.
pub async fn s20_forged_hints_grant_nothing(bench: &Bench) {
    let chaos = bench.chaos().await;
    chaos.set_hints(Hints::Forged);
    let recorded = RecordingStore::new(Arc::new(chaos.clone()));
    let (holder, waiter) = (bench.client().await, bench.client_of(recorded.clone()));
    let lease = held(&holder, &name("job"), bench.ttl * 30).await;
    let waits = tokio::spawn(async move { waiter.acquire("job", LeaseOptions::new(Duration::from_secs(30))).await });
    for _ in 0..20 {
        chaos.forge_hint(lease.name());
        bench.pass(Duration::from_millis(10)).await;
        assert!(!waits.is_finished() && lease.is_held());
    }
    assert_eq!(recorded.outcomes(Operation::Acquire, |outcome| matches!(outcome, Outcome::Granted(_))), 0);
    lease.release().await.expect("release answers");
    bench.pass(Duration::from_millis(10)).await;
    chaos.forge_hint(&name("job"));
    let won = bench.within("the waiter wins", POLL + bench.patience(), waits).await.expect("no panic");
    assert!(won.expect("acquired").is_held());
}

/// However many tasks of a client wait for a name, one of them contends.
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
    bench.pass(time).await;
    let calls = recorded.count(Operation::Acquire) + recorded.count(Operation::Inspect);
    assert!(calls <= 4, "{calls} calls in {time:?} for one name");
    assert!(waits.try_join_next().is_none() && !first.is_finished());
    drop(lease);
}

/// Within a process it is first come, first served.
pub async fn l02_waiters_of_one_process_are_served_in_order(bench: &Bench) {
    let seen = Seen::default();
    let (holder, waiter) = (bench.client().await, bench.builder().await.observer(seen.clone()).build());
    let lease = held(&holder, &name("job"), bench.ttl * 30).await;
    let (mut waits, order) = (JoinSet::new(), Arc::<Mutex<Vec<usize>>>::default());
    for number in 0..6 {
        let (waiter, order, options) = (waiter.clone(), Arc::clone(&order), LeaseOptions::new(bench.ttl * 10));
        waits.spawn(async move {
            let lease = waiter.acquire("job", options).await.expect("acquired");
            order.lock().unwrap_or_else(PoisonError::into_inner).push(number);
            lease.release().await.expect("release answers");
        });
        let in_line =
            async || (seen.count(|event| matches!(event, LeaseEvent::WaitStarted { .. })) == number + 1).then_some(());
        bench.poll("it is in line", bench.patience(), in_line).await;
        bench.pass(Duration::from_millis(20)).await;
    }
    lease.release().await.expect("release answers");
    bench.within("all are served", POLL * 6 + bench.patience(), waits.join_all()).await;
    assert_eq!(*order.lock().unwrap_or_else(PoisonError::into_inner), [0, 1, 2, 3, 4, 5]);
}

/// A waiter that is dropped, or is there and not polled any more, holds up nobody.
pub async fn l02_a_waiter_that_has_gone_holds_up_nobody(bench: &Bench) {
    let seen = Seen::default();
    let (holder, waiter) = (bench.client().await, bench.builder().await.observer(seen.clone()).build());
    let lease = held(&holder, &name("job"), bench.ttl * 30).await;
    let waiting = || seen.count(|event| matches!(event, LeaseEvent::WaitStarted { .. }));
    let dropped = tokio::spawn({
        let (waiter, ttl) = (waiter.clone(), bench.ttl);
        async move { waiter.acquire("job", ttl).await }
    });
    bench.poll("it is in line", bench.patience(), async || (waiting() == 1).then_some(())).await;
    let mut unpolled = pin!(waiter.acquire("job", bench.ttl));
    bench
        .poll("it is in line", bench.patience(), async || {
            poll_fn(|context| Poll::Ready(unpolled.as_mut().poll(context).is_ready())).await;
            (waiting() == 2).then_some(())
        })
        .await;
    let third = tokio::spawn({
        let (waiter, ttl) = (waiter.clone(), bench.ttl);
        async move { waiter.acquire("job", ttl).await }
    });
    bench.poll("it is in line", bench.patience(), async || (waiting() == 3).then_some(())).await;
    dropped.abort();
    lease.release().await.expect("release answers");
    // The second one gets it and does not know; as nobody polls it, its ttl is renewed for it: it is an owner. Once that
    // one is dropped too, the lease comes back.
    let told = if holder.capabilities().push { Duration::ZERO } else { POLL };
    bench.pass(told + bench.ttl / 2).await;
    let mut unpolled = Some(unpolled);
    if !third.is_finished() {
        drop(poll_fn(|context| Poll::Ready(unpolled.as_mut().map(|it| it.as_mut().poll(context)))).await);
    }
    let won = bench.within("the third one wins", POLL * 2 + bench.ttl + bench.patience(), third).await;
    assert!(won.expect("no panic").expect("acquired").is_held());
}

/// A try is one attempt: it neither waits nor stands in line.
pub async fn l02_a_try_never_queues(bench: &Bench) {
    let recorded = RecordingStore::new(bench.store().await);
    let (holder, client) = (bench.client().await, bench.client_of(recorded.clone()));
    let lease = held(&holder, &name("job"), bench.ttl * 30).await;
    let waits = wait_in_line(bench, &client, &recorded, bench.ttl).await;
    recorded.clear();
    let tried = bench.soon("a try ends", client.try_acquire("job", bench.ttl)).await;
    assert!(tried.expect("answers").acquired().is_none());
    assert!(recorded.count(Operation::Acquire) >= 1, "it did not ask");
    waits.abort();
    lease.release().await.expect("release answers");
}

/// A waiter that can no longer win is told so at once.
pub async fn l04_a_waiter_of_a_closed_client_is_told(bench: &Bench) {
    let recorded = RecordingStore::new(bench.store().await);
    let (holder, waiter) = (bench.client().await, bench.client_of(recorded.clone()));
    let _lease = held(&holder, &name("job"), bench.ttl * 30).await;
    let waits = wait_in_line(bench, &waiter, &recorded, bench.ttl).await;
    bench.soon("close ends", waiter.close()).await.expect("closed");
    let told = bench.soon("the waiter is told", waits).await.expect("no panic");
    assert!(told.is_err_and(|error| error.kind() == ErrorKind::Closed));
}

type Waits = tokio::task::JoinHandle<lease_core::Result<lease_core::Lease>>;

/// A task of this client that waits for `job`, has lost its attempts so far, and will poll in a second at the earliest.
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
    // With push, the first hint brings a second attempt.
    let attempts = if client.capabilities().push { 2 } else { 1 };
    let limit = POLL + bench.patience();
    bench
        .poll("the waiter has tried", limit, async || {
            let lost = recorded.outcomes(Operation::Acquire, |outcome| matches!(outcome, Outcome::Held));
            (lost >= attempts && recorded.under_way() == 0).then_some(())
        })
        .await;
    waits
}
