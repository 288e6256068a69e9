//! Clients that try: what they get, and what they are told.

use std::{sync::Arc, time::Duration};

use lease_core::{Acquired, Break, LeaseOptions, LeaseStore, LossReason};
use tokio::task::JoinSet;

use crate::{
    ChaosStore, Fault, Harm, History, Operation, Outcome, RecordingStore, SeededRng,
    bench::Bench,
    calls::{acquired, held, inspected, name},
};

/// Two tasks of one client are two owners.
pub async fn s14_two_guards_of_one_client_exclude_each_other(bench: &Bench) {
    let client = bench.client().await;
    let lease = held(&client, &name("job"), bench.ttl).await;
    assert!(client.clone().try_acquire("job", bench.ttl).await.expect("answers").acquired().is_none(), "re-entrant");
    lease.release().await.expect("release answers");
    let second = held(&client, &name("job"), bench.ttl).await;
    assert!(second.is_held());
}

/// An acquire whose answer was lost meets its own grant: at once, with the same token, and without waiting for its expiry.
pub async fn s13_a_lost_answer_costs_no_ttl(bench: &Bench) {
    // What reaches the store.
    let store = RecordingStore::new(bench.store().await);
    let chaos = ChaosStore::new(Arc::new(store.clone()), Arc::clone(&bench.clock), 0);
    let ttl = bench.ttl * 6;
    chaos.inject(Fault::LoseAnswer.on(Operation::Acquire).once());
    let began = bench.now();
    let lease = bench.client_of(chaos).acquire("job", ttl).await.expect("the retry meets the grant");
    let took = bench.now().saturating_since(began);
    assert!(took < ttl.mul_f64(0.9), "it waited for the expiry of its own grant: {took:?}");
    let own = |outcome: &Outcome| *outcome == Outcome::Granted(lease.token());
    assert_eq!(store.outcomes(Operation::Acquire, own), store.elements(Operation::Acquire), "{:?}", store.calls());
    let record = inspected(&store, lease.name()).await.expect("held");
    assert_eq!((record.token, &record.holder), (lease.token(), lease.holder()));
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

/// After a restart of the store the holder has its lease, or knows that it has not; others get on in either case.
pub async fn s19_clients_get_on_after_a_restart(bench: &Bench) {
    let (holder, other) = (bench.client().await, bench.client().await);
    let lease = held(&holder, &name("job"), bench.ttl * 2).await;
    let token = lease.token();
    if bench.restart().await == Harm::CannotDo {
        return;
    }
    bench.pass(bench.ttl * 2).await;
    let limit = bench.ttl + bench.patience();
    let record = bench.poll("the store serves again", limit, async || other.inspect("job").await.ok()).await;
    if lease.is_held() {
        assert_eq!(record.map(|record| record.token), Some(token), "held by one, and known to be another's");
    }
    drop(lease);
    let won = bench.taken(&other, &name("job"), bench.ttl * 4 + bench.patience()).await;
    assert!(won.token() > token || !other.capabilities().tokens_survive.restart);
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
            let mut rng = SeededRng::new(seed);
            let options = LeaseOptions::new(ttl).with_wait_limit(ttl * 2);
            let mut tenures = 0;
            while clock.now() < ends_at {
                let Ok(lease) = client.acquire(rng.pick(&names), &options).await else { continue };
                let tenure = history.began(lease.name(), lease.holder(), lease.token(), clock.now());
                tenures += 1;
                let works_until = clock.now() + rng.between(Duration::ZERO, ttl / 2);
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
                match rng.below(4) {
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
    assert!(matches!(acquired(&*store, &bench.request(lease.name())).await, Acquired::Held { .. }));
    assert_eq!(lease.release().await.expect("release answers"), lease_core::Released::Freed);
    assert!(!handle.is_held());
    assert_eq!(handle.lost().await, LossReason::Released);
    assert!(matches!(acquired(&*store, &bench.request(handle.name())).await, Acquired::Granted(_)));
}
