//! Single attempts of clients.

use std::{sync::Arc, time::Duration};

use lease_core::{Acquired, Break, LeaseOptions, LeaseStore, LossReason};
use tokio::task::JoinSet;

use crate::{
    ChaosStore, Fault, History, Injection, Operation, Outcome, RecordingStore, SeededRng,
    bench::Bench,
    calls::{acquired, held, inspected, name},
};

/// Two guards of one client exclude each other.
pub async fn s14_two_guards_of_one_client_exclude_each_other(bench: &Bench) {
    let client = bench.client().await;
    let lease = held(&client, &name("job"), bench.ttl).await;
    assert!(
        client.clone().try_acquire("job", bench.ttl).await.expect("answers").acquired().is_none(),
        "the lease was granted to the same client twice"
    );
    lease.release().await.expect("release answers");
    let second = held(&client, &name("job"), bench.ttl).await;
    assert!(second.is_held());
}

/// The retry of an acquire whose answer was lost finds its own grant: at once, with the same token, without waiting for an
/// expiry.
pub async fn s13_a_lost_answer_costs_no_ttl(bench: &Bench) {
    // Records the calls that reach the store.
    let store = RecordingStore::new(bench.store().await);
    let chaos = ChaosStore::new(Arc::new(store.clone()), Arc::clone(&bench.clock), 0);
    let ttl = bench.ttl * 6;
    chaos.inject(Fault::LoseAnswer.on(Operation::Acquire).once());
    let began = bench.now();
    let lease = bench.client_of(chaos).acquire("job", ttl).await.expect("the retry finds its own grant");
    let took = bench.now().saturating_since(began);
    assert!(took < ttl.mul_f64(0.9), "the retry waited {took:?}, for the expiry of its own grant");
    let own = |outcome: &Outcome| *outcome == Outcome::Granted(lease.token());
    assert_eq!(store.outcomes(Operation::Acquire, own), store.elements(Operation::Acquire), "{:?}", store.calls());
    let record = inspected(&store, lease.name()).await.expect("held");
    assert_eq!((record.token, &record.holder), (lease.token(), lease.holder()));
}

/// A request that is delivered again after the release of its grant grants nothing.
pub async fn s13_a_delayed_duplicate_grants_nothing(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    chaos.inject(Fault::Duplicate(bench.ttl / 4).on(Operation::Acquire).once());
    held(&bench.client_of(chaos.clone()), &name("job"), bench.ttl * 20).await.release().await.expect("answers");
    bench.sleep(bench.ttl / 2).await;
    if chaos.capabilities().remembers_last_grant {
        assert_eq!(inspected(&chaos, &name("job")).await, None, "the duplicate was granted");
    }
}

/// A store that cannot be reached is an error for every operation.
pub async fn s19_a_client_never_takes_silence_for_an_answer(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    let client = bench.client_of(chaos.clone());
    let lease = held(&client, &name("held"), bench.ttl * 20).await;
    bench.cut().await;
    let tried = bench.expect_soon("try_acquire ends", client.try_acquire("free", bench.ttl)).await;
    assert!(tried.as_ref().is_err_and(lease_core::Error::is_transient), "{tried:?}");
    let tried = bench.expect_soon("try_acquire ends", client.try_acquire("held", bench.ttl)).await;
    assert!(tried.as_ref().is_err_and(lease_core::Error::is_transient), "{tried:?}");
    let limit = Duration::from_secs(5) + bench.tolerance();
    let seen = bench.expect_within("inspect ends", limit, client.inspect("held")).await;
    assert!(seen.as_ref().is_err_and(lease_core::Error::is_transient), "{seen:?}");
    let seen = bench.expect_within("list ends", limit, client.list("", None, 1)).await;
    assert!(seen.as_ref().is_err_and(lease_core::Error::is_transient), "{seen:?}");
    assert!(lease.is_held(), "the lease was lost by a cut (S6)");
    bench.heal().await;
}

/// After a restart of the store the holder still has its lease or has observed its loss. Other clients can acquire leases in
/// either case.
pub async fn s19_clients_get_on_after_a_restart(bench: &Bench) {
    let (holder, other) = (bench.client().await, bench.client().await);
    let lease = held(&holder, &name("job"), bench.ttl * 2).await;
    let token = lease.token();
    if bench.restart().await == Injection::Unsupported {
        return;
    }
    bench.sleep(bench.ttl * 2).await;
    let limit = bench.ttl + bench.tolerance();
    let record = bench.poll("the store serves again", limit, async || other.inspect("job").await.ok()).await;
    if lease.is_held() {
        assert_eq!(
            record.map(|record| record.token),
            Some(token),
            "the client holds the lease, and the store has another grant"
        );
    }
    drop(lease);
    let won = bench.acquire_within(&other, &name("job"), bench.ttl * 4 + bench.tolerance()).await;
    assert!(won.token() > token || !other.capabilities().tokens_survive.restart);
}

/// A break after expiry keeps exclusion: a successor is granted only after the former holder has observed the loss.
pub async fn s22_a_break_after_expiry_excludes_until_the_holder_has_seen_it(bench: &Bench) {
    let (holder, operator, waiter) = (bench.client().await, bench.client().await, bench.client().await);
    let ttl = bench.ttl * 2;
    let lease = held(&holder, &name("job"), ttl).await;
    let waits = tokio::spawn(async move { waiter.acquire("job", ttl).await });
    bench.sleep(ttl / 2).await;
    operator.break_lease("job", lease.token(), Break::AfterExpiry).await.expect("break answers");
    let handle = lease.handle();
    let is_lost = tokio::spawn(async move { handle.lost().await });
    let won = bench.expect_within("the waiter wins", ttl * 2 + bench.tolerance(), waits).await.expect("no panic");
    assert!(!lease.is_held(), "the successor was granted before the former holder observed the loss");
    assert!(won.expect("acquired").token() > lease.token());
    let reason = bench.expect_soon("the loss", is_lost).await.expect("no panic");
    assert!(matches!(reason, LossReason::Broken | LossReason::Gone | LossReason::Expired), "{reason:?}");
}

/// Several clients use two names over a faulty store: at most one holds a name at any time, tokens rise, and each client
/// acquires leases after the faults.
pub async fn s09_the_history_of_many_clients_is_sound(bench: &Bench) {
    let (history, names) = (History::default(), [name("a"), name("b")]);
    let ends_at = bench.now() + bench.ttl * 6;
    let mut tasks = JoinSet::new();
    for seed in 0..6_u64 {
        let chaos = bench.chaos_store().await;
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
                    // On a busy machine the signal may be late. `is_held` is not.
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
    let limit = bench.ttl * 20 + bench.tolerance();
    let tenures: usize = bench.expect_within("all clients end", limit, tasks.join_all()).await.into_iter().sum();
    history.assert_sound();
    assert!(tenures >= 6, "only {tenures} tenures");
    for job in &names {
        let limit = bench.ttl * 3 + bench.tolerance();
        bench.acquire_within(&bench.client().await, job, limit).await.release().await.expect("release answers");
    }
}

/// A client releases its leases, and no others.
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
