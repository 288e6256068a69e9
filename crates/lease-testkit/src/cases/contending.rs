//! Clients that want the same name: trying, waiting, and who wins.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use lease_core::{Acquired, Break, ErrorKind, LeaseEvent, LeaseOptions, LeaseStore, LossReason};
use tokio::task::JoinSet;

use crate::{
    Dice, Fault, Hints, History, Operation, Outcome, RecordingStore,
    bench::{Bench, Seen, acquire, held, inspected, name},
};

/// The longest poll of a waiter behind the push.
const POLL: Duration = Duration::from_secs(2);

/// Two tasks of one client are two owners.
pub async fn s14_two_guards_of_one_client_exclude_each_other(bench: &Bench) {
    let client = bench.client().await;
    let lease = held(&client, &name("job"), bench.ttl).await;
    assert!(client.clone().try_acquire("job", bench.ttl).await.expect("answers").is_none(), "re-entrant");
    lease.release().await.expect("release answers");
    let second = held(&client, &name("job"), bench.ttl).await;
    assert!(second.is_held());
}

/// An acquire whose answer was lost meets its own grant: at once, with the same token, and without waiting for its expiry.
pub async fn s13_a_lost_answer_costs_no_ttl(bench: &Bench) {
    let chaos = bench.chaos().await;
    let store = RecordingStore::new(Arc::new(chaos.clone()));
    let ttl = bench.ttl * 6;
    chaos.inject(Fault::LoseAnswer.on(Operation::Acquire).once());
    let began = bench.now();
    let lease = bench.client_of(store.clone()).acquire("job", ttl).await.expect("the retry meets the grant");
    let took = bench.now().saturating_since(began);
    assert!(took < ttl.mul_f64(0.9), "it waited for the expiry of its own grant: {took:?}");
    let record = inspected(&chaos, lease.name()).await.expect("held");
    assert_eq!((record.token, &record.holder), (lease.token(), lease.holder()));
    assert_eq!(store.outcomes(Operation::Acquire, |outcome| matches!(outcome, Outcome::Held)), 0);
}

/// A request that is delivered again after its grant was released grants nothing.
pub async fn s13_a_delayed_duplicate_grants_nothing(bench: &Bench) {
    let chaos = bench.chaos().await;
    chaos.inject(Fault::Duplicate(bench.ttl / 4).on(Operation::Acquire).once());
    held(&bench.client_of(chaos.clone()), &name("job"), bench.ttl * 20).await.release().await.expect("answers");
    bench.pass(bench.ttl / 2).await;
    if chaos.capabilities().remembers_last_grant {
        assert_eq!(inspected(&chaos, &name("job")).await, None, "the duplicate was granted");
    }
}

/// "Cannot reach the store" is an error, whatever is asked.
pub async fn s19_a_client_never_takes_silence_for_an_answer(bench: &Bench) {
    let chaos = bench.chaos().await;
    let client = bench.client_of(chaos.clone());
    let lease = held(&client, &name("held"), bench.ttl * 20).await;
    bench.cut().await;
    let tried = bench.soon("try_acquire ends", client.try_acquire("free", bench.ttl)).await;
    assert!(tried.as_ref().is_err_and(lease_core::Error::is_transient), "{tried:?}");
    let tried = bench.soon("try_acquire ends", client.try_acquire("held", bench.ttl)).await;
    assert!(tried.as_ref().is_err_and(lease_core::Error::is_transient), "{tried:?}");
    let limit = Duration::from_secs(5) + bench.patience();
    let seen = bench.within("inspect ends", limit, client.inspect("held")).await;
    assert!(seen.as_ref().is_err_and(lease_core::Error::is_transient), "{seen:?}");
    let seen = bench.within("list ends", limit, client.list("", None, 1)).await;
    assert!(seen.as_ref().is_err_and(lease_core::Error::is_transient), "{seen:?}");
    assert!(lease.is_held(), "a cut is no loss (S6)");
    bench.heal().await;
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
    let (holder, waiter) = (bench.client().await, bench.client().await.with_observer(seen.clone()));
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
    let (holder, waiter) = (bench.client().await, bench.client().await.with_observer(seen.clone()));
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
    bench.pass(bench.ttl / 2).await;
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
    assert!(tried.expect("answers").is_none());
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

/// A watch begins with the current state, ends up at the latest one, and its tokens never go down.
pub async fn l05_a_watch_shows_the_current_state_and_then_the_latest(bench: &Bench) {
    let (holder, watcher) = (bench.client().await, bench.client().await);
    let options = LeaseOptions::new(bench.ttl * 30).with_announce(true);
    let first = held(&holder, &name("job"), &options).await;
    let mut watch = watcher.watch("job").expect("watching");
    let state = bench.soon("the current state", watch.next()).await.expect("a state").expect("the store answers");
    assert_eq!(state.map(|record| record.token), Some(first.token()));
    let mut token = first.token();
    first.release().await.expect("release answers");
    for _ in 0..3 {
        let lease = held(&holder, &name("job"), &options).await;
        bench
            .within("the latest state is seen", POLL + bench.patience(), async {
                loop {
                    if let Some(record) = watch.next().await.expect("a state").expect("the store answers") {
                        assert!(record.token >= token, "tokens went down");
                        token = record.token;
                        if token == lease.token() {
                            return;
                        }
                    }
                }
            })
            .await;
        lease.release().await.expect("release answers");
    }
    bench
        .within("it is seen free", POLL + bench.patience(), async {
            while watch.next().await.expect("a state").expect("the store answers").is_some() {}
        })
        .await;
}

/// Trouble with the store is seen by who watches, and is not the end.
pub async fn l05_a_watch_shows_trouble_and_goes_on(bench: &Bench) {
    let (chaos, holder) = (bench.chaos().await, bench.client().await);
    let watcher = bench.client_of(chaos.clone());
    let mut watch = watcher.watch("job").expect("watching");
    let state = bench.soon("the current state", watch.next()).await.expect("a state").expect("the store answers");
    assert_eq!(state, None);
    chaos.inject(Fault::Fail(ErrorKind::Unavailable).on(Operation::Inspect));
    let limit = POLL + bench.patience();
    let trouble = bench.within("the trouble is seen", limit, watch.next()).await.expect("a state");
    assert!(trouble.is_err_and(|error| error.is_transient()));
    chaos.calm();
    let lease = held(&holder, &name("job"), bench.ttl * 30).await;
    bench
        .within("the lease is seen", POLL * 2 + bench.patience(), async {
            loop {
                if let Ok(Some(record)) = watch.next().await.expect("a state") {
                    return assert_eq!(record.token, lease.token());
                }
            }
        })
        .await;
    watcher.close().await.expect("closed");
    let end = bench.soon("the watch ends", watch.next()).await;
    assert!(end.is_some_and(|end| end.is_err_and(|error| error.kind() == ErrorKind::Closed)));
}

/// A break that leaves exclusion intact: whoever comes after wins only when the old holder knows that it has lost.
pub async fn s22_a_break_after_expiry_excludes_until_the_holder_knows(bench: &Bench) {
    let (holder, operator, waiter) = (bench.client().await, bench.client().await, bench.client().await);
    let ttl = bench.ttl * 2;
    let lease = held(&holder, &name("job"), ttl).await;
    let waits = tokio::spawn(async move { waiter.acquire("job", ttl).await });
    bench.pass(ttl / 2).await;
    operator.break_lease("job", lease.token(), Break::AfterExpiry).await.expect("break answers");
    let handle = lease.handle();
    let is_lost = tokio::spawn(async move { handle.lost().await });
    let won = bench.within("the waiter wins", ttl * 2 + bench.patience(), waits).await.expect("no panic");
    assert!(!lease.is_held(), "two holders");
    assert!(won.expect("acquired").token() > lease.token());
    let reason = bench.soon("the loss", is_lost).await.expect("no panic");
    assert!(matches!(reason, LossReason::Broken | LossReason::Gone | LossReason::Expired), "{reason:?}");
}

/// Several clients, a troubled store, two names: at most one holder at any time, tokens rise, and everybody gets on
/// afterwards.
pub async fn s09_the_history_of_many_clients_is_sound(bench: &Bench) {
    let (history, names) = (History::default(), [name("a"), name("b")]);
    let ends_at = bench.now() + bench.ttl * 6;
    let mut tasks = JoinSet::new();
    for seed in 0..6_u64 {
        let chaos = bench.chaos().await;
        let short = bench.ttl / 8;
        chaos.inject(Fault::DelayRequest(short).on(Operation::Renew).every(5));
        chaos.inject(Fault::DelayAnswer(short).on(Operation::Acquire).every(3));
        chaos.inject(Fault::LoseAnswer.on(Operation::Acquire).every(4));
        chaos.inject(Fault::LoseRequest.on(Operation::Renew).every(3));
        chaos.inject(Fault::Duplicate(short).on(Operation::Acquire).every(2));
        chaos.inject(Fault::LoseAnswer.on(Operation::Release).every(4));
        let client = bench.client_of(chaos);
        let (history, names, clock, ttl) = (history.clone(), names.clone(), Arc::clone(&bench.clock), bench.ttl);
        tasks.spawn(async move {
            let mut dice = Dice::seeded(seed);
            let options = LeaseOptions::new(ttl).with_wait_limit(ttl * 2);
            let mut tenures = 0;
            while clock.now() < ends_at {
                let Ok(lease) = client.acquire(dice.pick(&names), &options).await else { continue };
                let tenure = history.began(lease.name(), lease.holder(), lease.token(), clock.now());
                tenures += 1;
                let works_until = clock.now() + dice.between(Duration::ZERO, ttl / 2);
                let mut deadline = lease.valid_until();
                while lease.is_held() && clock.now() < works_until {
                    deadline = deadline.max(lease.valid_until());
                    tokio::select! {
                        biased;
                        _ = lease.lost() => {}
                        () = clock.sleep_until(works_until.min(clock.now() + ttl / 50)) => {}
                    }
                }
                tenure.ended(clock.now());
                if !lease.is_held() {
                    // The signal may have been late on a busy machine; whoever asks knows better.
                    tenure.ended(deadline);
                }
                match dice.below(4) {
                    0 => lease.abandon(),
                    1 => drop(lease),
                    _ => drop(lease.release().await),
                }
            }
            tenures
        });
    }
    let limit = bench.ttl * 20 + bench.patience();
    let tenures: usize = bench.within("all end", limit, tasks.join_all()).await.into_iter().sum();
    history.assert_sound();
    assert!(tenures >= 6, "only {tenures} tenures");
    for job in &names {
        let limit = bench.ttl * 3 + bench.patience();
        bench.taken(&bench.client().await, job, limit).await.release().await.expect("release answers");
    }
}

/// What a client released is free for others, and what it holds is not.
pub async fn s11_a_client_releases_what_it_acquired(bench: &Bench) {
    let (client, store) = (bench.client().await, bench.store().await);
    let lease = held(&client, &name("job"), bench.ttl * 20).await;
    let handle = lease.handle();
    assert!(matches!(acquire(&*store, &bench.request(lease.name())).await, Acquired::Held { .. }));
    assert_eq!(lease.release().await.expect("release answers"), lease_core::Released::Freed);
    assert!(!handle.is_held());
    assert_eq!(handle.lost().await, LossReason::Released);
    assert!(matches!(acquire(&*store, &bench.request(handle.name())).await, Acquired::Granted(_)));
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
