//! The end of a lease: released, dropped, handed over, abandoned, closed; and the work that it protects.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use lease_core::{Break, ErrorKind, HolderId, LeaseOptions, LeaseStore, LossReason, Released};
use tokio::task::JoinSet;

use crate::{
    Dice, Fault, Operation, Outcome, Progress, RecordingStore,
    bench::{Bench, Seen, held, inspected, name},
};

/// From the call of `release` on the lease is not held, although the store does not know yet.
pub async fn s12_a_guard_is_lost_before_its_release_is_sent(bench: &Bench) {
    let chaos = bench.chaos().await;
    let client = bench.client_of(chaos.clone());
    for is_dropped in [false, true] {
        let lease = held(&client, &name("job"), bench.ttl * 20).await;
        chaos.inject(Fault::DelayRequest(bench.ttl / 4).on(Operation::Release).once());
        let handle = lease.handle();
        let ends = tokio::spawn(async move {
            if is_dropped {
                drop(lease);
            } else {
                lease.release().await.expect("release answers");
            }
        });
        bench.poll("it has begun", bench.patience(), async || (!handle.is_held()).then_some(())).await;
        if inspected(&chaos, &name("job")).await.is_some() {
            assert_eq!(handle.lost().await, LossReason::Released);
        }
        bench.soon("the release ends", ends).await.expect("no panic");
        bench
            .taken(&bench.client().await, &name("job"), bench.ttl + bench.patience())
            .await
            .release()
            .await
            .expect("answers");
    }
}

/// Renewals that were under way when the lease was released neither revive it nor are reported as its loss, and none is
/// sent afterwards.
pub async fn s12_no_renewal_takes_effect_after_the_release(bench: &Bench) {
    let chaos = bench.chaos().await;
    let recorded = RecordingStore::new(Arc::new(chaos.clone()));
    let seen = Seen::default();
    let client = bench.client_of(recorded.clone()).with_observer(seen.clone());
    let mut dice = Dice::seeded(12);
    let interval = bench.ttl / 20;
    let options = LeaseOptions::new(bench.ttl).with_renewal_interval(interval);
    for round in 1..=12 {
        chaos.calm();
        chaos.inject(
            Fault::DelayRequest(dice.between(Duration::ZERO, interval * 2)).on(Operation::Renew).with_chance(0.7),
        );
        chaos.inject(Fault::DelayAnswer(dice.between(Duration::ZERO, interval)).on(Operation::Renew).with_chance(0.7));
        let job = name(&format!("job/{round}"));
        let lease = held(&client, &job, &options).await;
        bench.pass(dice.between(Duration::ZERO, interval * 3)).await;
        lease.release().await.expect("release answers");
        recorded.clear();
        bench.pass(interval * 3).await;
        assert_eq!(recorded.count(Operation::Renew), 0, "round {round}: a renewal after the release");
        assert_eq!(inspected(&chaos, &job).await, None, "round {round}: revived");
        assert_eq!(seen.losses(), vec![LossReason::Released; round]);
    }
}

/// An acquire that is dropped while it is under way leaves no grant behind: alone, and in the middle of a batch. Its
/// neighbours get theirs, and no call is cut.
pub async fn s15_a_dropped_acquire_leaves_no_grant(bench: &Bench) {
    let chaos = bench.chaos().await;
    let recorded = RecordingStore::new(Arc::new(chaos.clone()));
    let client = bench.client_of(recorded.clone());
    let ttl = bench.ttl * 20;
    for tasks in [1, 12] {
        chaos.inject(Fault::DelayAnswer(bench.ttl / 4).on(Operation::Acquire));
        let attempts: Vec<_> = (0..tasks)
            .map(|number| {
                let (client, job) = (client.clone(), format!("{tasks}/{number}"));
                tokio::spawn(async move { client.try_acquire(job, ttl).await })
            })
            .collect();
        bench.pass(bench.ttl / 8).await;
        for attempt in attempts.iter().step_by(2) {
            attempt.abort();
        }
        for (number, attempt) in attempts.into_iter().enumerate() {
            let outcome = bench.soon("the attempt ends", attempt).await;
            match outcome {
                Ok(lease) => assert!(lease.expect("answers").expect("free").is_held()),
                Err(error) => assert!(error.is_cancelled() && number % 2 == 0),
            }
        }
        chaos.calm();
        for number in (0..tasks).step_by(2) {
            let job = name(&format!("{tasks}/{number}"));
            let limit = bench.ttl + bench.patience();
            let gone = async || inspected(&chaos, &job).await.is_none().then_some(());
            bench.poll("what nobody claims is released", limit, gone).await;
        }
    }
    let cut = recorded.calls().into_iter().filter(|call| call.progress == Progress::Cut).count();
    assert_eq!(cut, 0, "a dropped caller has cut a call");
}

/// A wait that is dropped leaves no grant behind.
pub async fn s15_a_dropped_wait_leaves_no_grant(bench: &Bench) {
    let (holder, waiter, chaos) = (bench.client().await, bench.client().await, bench.chaos().await);
    let lease = held(&holder, &name("job"), bench.ttl * 20).await;
    let ttl = bench.ttl * 20;
    let waits = tokio::spawn(async move { waiter.acquire("job", ttl).await });
    bench.pass(bench.ttl / 4).await;
    waits.abort();
    drop(lease);
    let limit = bench.ttl + bench.patience();
    bench.taken(&bench.client().await, &name("job"), limit).await.release().await.expect("answers");
    bench.pass(bench.ttl / 4).await;
    assert_eq!(inspected(&chaos, &name("job")).await, None);
}

/// An acquire that is under way while its client closes leaves no grant behind.
pub async fn s15_an_acquire_under_way_at_the_close_leaves_no_grant(bench: &Bench) {
    let chaos = bench.chaos().await;
    let client = bench.client_of(chaos.clone());
    chaos.inject(Fault::DelayAnswer(bench.ttl / 4).on(Operation::Acquire));
    let ttl = bench.ttl * 20;
    let attempt = tokio::spawn({
        let client = client.clone();
        async move { client.try_acquire("job", ttl).await }
    });
    bench.pass(bench.ttl / 8).await;
    bench.soon("close ends", client.close()).await.expect("closed");
    let outcome = bench.soon("the attempt ends", attempt).await.expect("no panic");
    assert!(outcome.is_err_and(|error| error.kind() == ErrorKind::Closed), "a lease of a closed client");
    let gone = async || inspected(&chaos, &name("job")).await.is_none().then_some(());
    bench.poll("what nobody claims is released", bench.ttl + bench.patience(), gone).await;
}

/// A release whose caller has gone is finished all the same.
pub async fn s15_a_dropped_release_is_finished(bench: &Bench) {
    let chaos = bench.chaos().await;
    let lease = held(&bench.client_of(chaos.clone()), &name("job"), bench.ttl * 20).await;
    chaos.inject(Fault::DelayRequest(bench.ttl / 8).on(Operation::Release));
    assert!(bench.or_timeout(Duration::from_millis(1), lease.release()).await.is_none(), "it takes longer");
    let gone = async || inspected(&chaos, &name("job")).await.is_none().then_some(());
    bench.poll("it is released", bench.ttl + bench.patience(), gone).await;
}

/// A release that failed is tried again in the background.
pub async fn s16_a_failed_release_is_repeated(bench: &Bench) {
    let chaos = bench.chaos().await;
    let lease = held(&bench.client_of(chaos.clone()), &name("job"), bench.ttl * 20).await;
    chaos.inject(Fault::Fail(ErrorKind::Unavailable).on(Operation::Release).once());
    let error = lease.release().await.expect_err("the store was not told");
    assert!(error.is_transient());
    let gone = async || inspected(&chaos, &name("job")).await.is_none().then_some(());
    bench.poll("it is released", bench.ttl * 10 + bench.patience(), gone).await;
}

/// Dropping a guard releases it soon: within the runtime, on a thread that has none, and while the client closes.
pub async fn s16_a_dropped_guard_is_released(bench: &Bench) {
    let (client, store) = (bench.client().await, bench.store().await);
    let ttl = bench.ttl * 20;
    drop(held(&client, &name("inside"), ttl).await);
    let outside = held(&client, &name("outside"), ttl).await;
    std::thread::spawn(move || drop(outside)).join().expect("no panic");
    for job in ["inside", "outside"] {
        let gone = async || inspected(&*store, &name(job)).await.is_none().then_some(());
        bench.poll("it is released", bench.ttl + bench.patience(), gone).await;
    }
    let closing = held(&client, &name("closing"), ttl).await;
    let (closed, ()) = tokio::join!(client.close(), async { drop(closing) });
    closed.expect("closed");
    let gone = async || inspected(&*store, &name("closing")).await.is_none().then_some(());
    bench.poll("it is released", bench.ttl + bench.patience(), gone).await;
}

/// The outcome of exclusive work is handed out, and the lease is released behind it.
pub async fn s17_a_scope_runs_its_work_and_releases(bench: &Bench) {
    let client = bench.client().await;
    let work = async |lease: lease_core::LeaseHandle| {
        assert!(lease.is_held());
        lease.token()
    };
    let first = client.run("job", bench.ttl * 20, work).await.expect("done");
    let second = client.run("job", bench.ttl * 20, work).await.expect("done");
    assert!(second > first);
    assert!(client.inspect("job").await.expect("inspect answers").is_none());
}

/// Exclusive work ends when its lease is lost; what comes after begins only when it has ended.
pub async fn s17_work_is_dropped_at_the_loss(bench: &Bench) {
    let (client, operator, rival) = (bench.client().await, bench.client().await, bench.client().await);
    let ended = Arc::new(AtomicBool::new(false));
    let ttl = bench.ttl * 2;
    let token = Arc::new(std::sync::OnceLock::new());
    let scope = tokio::spawn({
        let (client, ended, token) = (client.clone(), Arc::clone(&ended), Arc::clone(&token));
        async move {
            let work = async move |lease: lease_core::LeaseHandle| {
                let _ended = SetOnDrop(ended);
                token.set(lease.token()).expect("once");
                std::future::pending::<()>().await;
            };
            client.run("job", ttl, work).await
        }
    });
    let token = bench.poll("the work has begun", bench.patience(), async || token.get().copied()).await;
    operator.break_lease("job", token, Break::AfterExpiry).await.expect("break answers");
    let won = bench.taken(&rival, &name("job"), ttl * 2 + bench.patience()).await;
    assert!(ended.load(Ordering::SeqCst), "the next holder began before the work had ended");
    assert!(won.is_held());
    let outcome = bench.soon("the scope ends", scope).await.expect("no panic");
    assert!(outcome.is_err_and(|error| error.kind() == ErrorKind::Lost));
}

/// A dropped scope drops its work before it releases.
pub async fn s17_a_dropped_scope_drains_before_it_releases(bench: &Bench) {
    let (client, rival) = (bench.client().await, bench.client().await);
    let (begun, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let scope = tokio::spawn({
        let (begun, ended, ttl) = (Arc::clone(&begun), Arc::clone(&ended), bench.ttl * 20);
        async move {
            let work = async move |_| {
                let _ended = SetOnDrop(ended);
                begun.store(true, Ordering::SeqCst);
                std::future::pending::<()>().await;
            };
            client.run("job", ttl, work).await
        }
    });
    bench.poll("it has begun", bench.patience(), async || begun.load(Ordering::SeqCst).then_some(())).await;
    let waits = tokio::spawn(async move { rival.acquire("job", Duration::from_secs(30)).await });
    bench.pass(bench.ttl / 4).await;
    scope.abort();
    let won = bench.within("the rival wins", bench.ttl * 3 + bench.patience(), waits).await.expect("no panic");
    assert!(ended.load(Ordering::SeqCst), "the next holder began before the work had ended");
    drop(won);
}

/// Closing tells the scopes, waits for them, and then releases everything; it closes all clones, and can be repeated.
pub async fn s17_close_waits_for_scopes_and_releases_everything(bench: &Bench) {
    let (client, store) = (bench.client().await.with_close_grace(bench.ttl * 4), bench.store().await);
    let ttl = bench.ttl * 20;
    let mut leases = Vec::new();
    for number in 0..5 {
        leases.push(held(&client, &name(&format!("job/{number}")), ttl).await);
    }
    let steps = Arc::new(AtomicUsize::new(0));
    let scope = tokio::spawn({
        let (client, clock, steps, pause) =
            (client.clone(), Arc::clone(&bench.clock), Arc::clone(&steps), bench.ttl / 4);
        async move {
            let work = async move |lease: lease_core::LeaseHandle| {
                steps.store(1, Ordering::SeqCst);
                lease.closing().await;
                clock.sleep_until(clock.now() + pause).await;
                assert!(lease.is_held(), "closed over the head of its work");
                steps.store(2, Ordering::SeqCst);
            };
            client.run("scope", ttl, work).await
        }
    });
    bench.poll("it has begun", bench.patience(), async || (steps.load(Ordering::SeqCst) == 1).then_some(())).await;
    bench.within("close ends", bench.ttl * 4 + bench.patience(), client.clone().close()).await.expect("closed");
    assert_eq!(steps.load(Ordering::SeqCst), 2, "it did not wait for the work");
    bench.soon("the scope ends", scope).await.expect("no panic").expect("the work was done");
    assert!(leases.iter().all(|lease| !lease.is_held()));
    assert!(store.list("", None, 10).await.expect("list answers").is_empty(), "not all is released");
    let tried = client.try_acquire("job", ttl).await;
    assert!(tried.is_err_and(|error| error.kind() == ErrorKind::Closed));
    bench.soon("close ends", client.close()).await.expect("closed again");
}

/// Work that does not end when it is told to is dropped after the grace.
pub async fn s17_close_drops_work_after_the_grace(bench: &Bench) {
    let (client, rival) = (bench.client().await.with_close_grace(bench.ttl / 4), bench.client().await);
    let (begun, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let scope = tokio::spawn({
        let (client, begun, ended, ttl) = (client.clone(), Arc::clone(&begun), Arc::clone(&ended), bench.ttl * 20);
        async move {
            let work = async move |_| {
                let _ended = SetOnDrop(ended);
                begun.store(true, Ordering::SeqCst);
                std::future::pending::<()>().await;
            };
            client.run("job", ttl, work).await
        }
    });
    bench.poll("it has begun", bench.patience(), async || begun.load(Ordering::SeqCst).then_some(())).await;
    bench.within("close ends", bench.ttl + bench.patience(), client.close()).await.expect("closed");
    assert!(ended.load(Ordering::SeqCst));
    let outcome = bench.soon("the scope ends", scope).await.expect("no panic");
    assert!(outcome.is_err_and(|error| error.kind() == ErrorKind::Closed));
    held(&rival, &name("job"), bench.ttl).await.release().await.expect("release answers");
}

/// Closing does not hang on a store that does not answer.
pub async fn s17_close_ends_though_the_store_is_frozen(bench: &Bench) {
    let chaos = bench.chaos().await;
    let client = bench.client_of(chaos).with_close_grace(bench.ttl / 4);
    let lease = held(&client, &name("job"), bench.ttl * 2).await;
    bench.freeze().await;
    bench.within("close ends", bench.ttl * 4 + bench.patience(), client.close()).await.expect("closed");
    assert!(!lease.is_held());
    bench.thaw().await;
}

/// A short job that must not run twice keeps its name blocked for a while, counted from the grant.
pub async fn hold_at_least_keeps_the_name_blocked(bench: &Bench) {
    let (client, rival) = (bench.client().await, bench.client().await);
    let began = bench.now();
    let options = LeaseOptions::new(bench.ttl * 20).with_hold_at_least(bench.ttl);
    let lease = held(&client, &name("job"), options).await;
    assert_eq!(lease.release().await.expect("release answers"), Released::Freed);
    for client in [&client, &rival] {
        assert!(client.try_acquire("job", bench.ttl).await.expect("answers").is_none(), "run twice");
    }
    let won = bench.taken(&rival, &name("job"), bench.ttl + bench.patience()).await;
    let blocked = bench.now().saturating_since(began);
    assert!(blocked >= bench.ttl.mul_f64(0.97), "blocked for {blocked:?} only");
    drop(won);
    let long = LeaseOptions::new(bench.ttl * 20).with_hold_at_least(bench.ttl / 8);
    let lease = held(&client, &name("long"), long).await;
    bench.pass(bench.ttl / 4).await;
    lease.release().await.expect("release answers");
    held(&rival, &name("long"), bench.ttl).await.abandon();
}

/// An orderly hand-over: the named successor gets it, and nobody comes in between.
pub async fn a_hand_over_reaches_its_successor(bench: &Bench) {
    let successor = HolderId::new("successor").expect("a valid holder");
    let (client, rival) = (bench.client().await, bench.client().await);
    let next = bench.client().await.with_holder(successor.clone());
    let lease = held(&client, &name("job"), bench.ttl * 20).await;
    let token = lease.token();
    let released = lease.hand_over(successor, bench.ttl * 20).await.expect("release answers");
    assert_eq!(released, Released::Freed);
    for other in [&client, &rival] {
        assert!(other.try_acquire("job", bench.ttl).await.expect("answers").is_none(), "somebody came in between");
    }
    assert!(held(&next, &name("job"), bench.ttl).await.token() > token);
}

/// An abandoned lease runs out: not held, not renewed, not free.
pub async fn an_abandoned_lease_runs_out(bench: &Bench) {
    let recorded = RecordingStore::new(bench.store().await);
    let (client, rival) = (bench.client_of(recorded.clone()), bench.client().await);
    let lease = held(&client, &name("job"), bench.ttl).await;
    let handle = lease.handle();
    recorded.clear();
    lease.abandon();
    assert!(!handle.is_held());
    assert!(rival.try_acquire("job", bench.ttl).await.expect("answers").is_none(), "freed too early");
    bench.taken(&rival, &name("job"), bench.ttl + bench.patience()).await.abandon();
    assert_eq!((recorded.count(Operation::Renew), recorded.count(Operation::Release)), (0, 0));
}

/// Alone an operation is one call of one element; under load many share a call.
pub async fn operations_under_load_share_their_calls(bench: &Bench) {
    const NAMES: usize = 200;
    let chaos = bench.chaos().await;
    let recorded = RecordingStore::new(Arc::new(chaos.clone()));
    let client = bench.client_of(recorded.clone());
    let ttl = bench.ttl * 30;
    held(&client, &name("alone"), ttl).await.release().await.expect("release answers");
    assert_eq!((recorded.count(Operation::Acquire), recorded.count(Operation::Release)), (1, 1));
    recorded.clear();
    for operation in [Operation::Acquire, Operation::Release] {
        chaos.inject(Fault::DelayAnswer(bench.ttl / 20).on(operation));
    }
    let mut acquires = JoinSet::new();
    for number in 0..NAMES {
        let client = client.clone();
        acquires.spawn(async move { client.try_acquire(format!("job/{number}"), ttl).await });
    }
    let leases = bench.soon("all are acquired", acquires.join_all()).await;
    let mut releases = JoinSet::new();
    for lease in leases {
        let lease = lease.expect("answers").expect("free");
        releases.spawn(async move { lease.release().await });
    }
    let released = bench.soon("all are released", releases.join_all()).await;
    assert!(released.into_iter().all(|released| released.is_ok_and(|released| released == Released::Freed)));
    for operation in [Operation::Acquire, Operation::Release] {
        let calls = recorded.count(operation);
        assert_eq!(recorded.elements(operation), NAMES, "{operation:?}");
        assert!(calls <= NAMES / 5, "{calls} calls of {operation:?} for {NAMES} names");
    }
    assert_eq!(recorded.outcomes(Operation::Acquire, |outcome| matches!(outcome, Outcome::Granted(_))), NAMES);
}

/// Calls that hang are given up by each item in its own time, and there are never many of them.
pub async fn s24_hanging_calls_are_bounded_and_given_up(bench: &Bench) {
    let chaos = bench.chaos().await;
    let recorded = RecordingStore::new(Arc::new(chaos.clone()));
    let client = bench.client_of(recorded.clone());
    held(&client, &name("warm-up"), bench.ttl).await.release().await.expect("release answers");
    bench.freeze().await;
    let mut attempts = JoinSet::new();
    for number in 0..200 {
        let (client, options) = (client.clone(), LeaseOptions::new(bench.ttl));
        attempts.spawn(async move { client.try_acquire(format!("job/{number}"), options).await });
    }
    let mut most = 0;
    let limit = bench.ttl + bench.patience();
    let end = bench.now() + limit;
    while !attempts.is_empty() {
        assert!(bench.now() < end, "{} attempts are still waiting", attempts.len());
        most = most.max(recorded.under_way());
        if let Some(Some(outcome)) = bench.or_timeout(Duration::from_millis(5), attempts.join_next()).await {
            let outcome = outcome.expect("no panic");
            assert!(outcome.is_err_and(|error| error.is_transient()), "an answer from nowhere");
        }
    }
    assert!(most <= 32, "{most} calls hung at a time");
    bench.thaw().await;
    bench.taken(&bench.client().await, &name("job/0"), bench.ttl * 3 + bench.patience()).await.abandon();
}

/// An item with little time left does not wait for a call that hangs beside it.
pub async fn s24_a_healthy_name_is_not_held_up_by_a_hanging_one(bench: &Bench) {
    let chaos = bench.chaos().await;
    let client = bench.client_of(chaos.clone());
    chaos.inject(Fault::DelayAnswer(Duration::MAX).on(Operation::Acquire).for_name(&name("hangs")));
    let hangs = tokio::spawn({
        let (client, options) = (client.clone(), LeaseOptions::new(bench.ttl * 30));
        async move { client.try_acquire("hangs", options).await }
    });
    bench.pass(Duration::from_millis(5)).await;
    for number in 0..10 {
        let began = bench.now();
        let lease = held(&client, &name(&format!("healthy/{number}")), bench.ttl).await;
        let took = bench.now().saturating_since(began);
        assert!(took < bench.ttl / 2 && !hangs.is_finished(), "held up for {took:?}");
        lease.release().await.expect("release answers");
    }
    hangs.abort();
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
