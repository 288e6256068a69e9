//! Failures of the network and the server are errors, and never an answer about a lease (S19).

use std::{fmt::Debug, slice::from_ref};

use lease_core::{Acquired, Break, ErrorKind, LeaseStore, Renewed, Result};

use crate::{
    Injection, Operation,
    bench::Bench,
    calls::{acquire, claim, extended, granted, inspected, name, only, plain_release, renew, renewal},
};

/// While the network is cut, each operation fails with a transient error.
pub async fn s19_a_store_that_is_cut_off_says_nothing(bench: &Bench) {
    let store = bench.chaos_store().await;
    let request = bench.request(&name("job"));
    granted(&store, &request).await;
    bench.cut().await;
    expect_nothing(bench, &store).await;
    bench.heal().await;
    expect_service(bench, &store).await;
}

/// While the server does not answer, each operation fails with a transient error, or waits.
pub async fn s19_a_store_that_is_frozen_says_nothing(bench: &Bench) {
    let store = bench.chaos_store().await;
    let request = bench.request(&name("job"));
    granted(&store, &request).await;
    bench.freeze().await;
    expect_nothing(bench, &store).await;
    bench.thaw().await;
    expect_service(bench, &store).await;
}

/// A lease survives a cut: its holder renews it afterwards, and no other holder was granted.
pub async fn s19_a_lease_outlives_a_cut(bench: &Bench) {
    let (store, other) = (bench.chaos_store().await, bench.chaos_store().await);
    let mut request = bench.request(&name("job"));
    request.ttl = bench.ttl * 30;
    let grant = granted(&store, &request).await;
    let claim = claim(&request, grant);
    bench.cut().await;
    let renewed = bench.timeout(bench.ttl / 2, store.renew(&[renewal(&claim, request.ttl)])).await.map(only);
    assert!(!matches!(renewed, Some(Ok(Renewed::Lost(_)))), "the lease was lost by a cut (S6): {renewed:?}");
    bench.heal().await;
    expect_service(bench, &other).await;
    assert_eq!(inspected(&other, &request.name).await.map(|record| record.token), Some(grant.token));
    expect_service(bench, &store).await;
    extended(&store, &claim, request.ttl).await;
}

/// An acquire whose answer was lost in a freeze is either held by its caller or free within the ttl.
pub async fn s13_an_acquire_lost_in_a_freeze_is_owned_or_free(bench: &Bench) {
    let (store, other) = (bench.chaos_store().await, bench.chaos_store().await);
    let request = bench.request(&name("job"));
    granted(&store, &bench.request(&name("warm-up"))).await;
    granted(&other, &bench.request(&name("warm-up-2"))).await;
    bench.freeze().await;
    let cut = bench.timeout(bench.ttl / 4, store.acquire(from_ref(&request))).await.map(only);
    assert!(!matches!(cut, Some(Ok(_))), "a frozen store answered: {cut:?}");
    bench.thaw().await;
    let limit = bench.ttl * 2 + bench.tolerance();
    let again = bench
        .poll("the repeated attempt is answered", limit, async || only(other.acquire(from_ref(&request)).await).ok())
        .await;
    match again {
        Acquired::Granted(grant) => {
            let record = inspected(&store, &request.name).await.expect("held");
            assert_eq!((record.holder, record.token), (request.holder, grant.token));
        }
        Acquired::Spent => bench.wait_until_free(&store, &request.name).await,
        other @ Acquired::Held { .. } => panic!("the name is held, but only one holder has asked for it: {other:?}"),
        other => panic!("unexpected answer: {other:?}"),
    }
}

/// A connection breaks after a request was delivered and before its answer. The outcome is unknown, so the error is
/// `Indeterminate`. With any other kind, a grant that was made is not released (S15).
pub async fn s13_what_was_perhaps_done_is_indeterminate(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    for operation in [Operation::Acquire, Operation::Renew, Operation::Release, Operation::Break] {
        // Opens the connections beforehand.
        expect_service(bench, &*store).await;
        let request = bench.request(&name(operation.as_str())).with_ttl(bench.ttl * 10);
        let (mut held, mut token) = (claim(&request, lease_core::Grant::new(token(), bench.ttl)), token());
        if operation != Operation::Acquire {
            let grant = granted(&*store, &request).await;
            (held, token) = (claim(&request, grant), grant.token);
        }
        if bench.lose_answers().await == Injection::Unsupported {
            return;
        }
        let asked = async {
            match operation {
                Operation::Acquire => acquire(&*store, &request).await.map(drop),
                Operation::Renew => renew(&*store, &renewal(&held, bench.ttl * 30)).await.map(drop),
                Operation::Release => only(store.release(&[plain_release(&held)]).await).map(drop),
                _ => store.break_lease(&request.name, token, Break::Now).await.map(drop),
            }
        };
        let cut = async {
            bench.sleep(bench.ttl / 4).await;
            bench.cut().await;
        };
        let (answer, ()) = bench.expect_soon("the connection breaks", async { tokio::join!(asked, cut) }).await;
        bench.heal().await;
        expect_service(bench, &*other).await;
        let error = answer.expect_err("the answer is lost");
        let record = inspected(&*other, &request.name).await;
        let was_done = match operation {
            Operation::Acquire => record.is_some(),
            Operation::Renew => record.is_some_and(|record| record.remaining > bench.ttl * 20),
            _ => record.is_none(),
        };
        assert!(
            !was_done || error.kind() == ErrorKind::Indeterminate,
            "{operation:?} was executed, and returned {error:?}"
        );
    }
}

async fn expect_nothing(bench: &Bench, store: &dyn LeaseStore) {
    let request = bench.request(&name("job"));
    let free = bench.request(&name("free"));
    let claim = claim(&request, lease_core::Grant::new(token(), bench.ttl));
    let limit = bench.ttl / 4;
    expect_no_answer("acquire", bench.timeout(limit, store.acquire(from_ref(&request))).await.map(only));
    expect_no_answer("acquire", bench.timeout(limit, store.acquire(from_ref(&free))).await.map(only));
    expect_no_answer("renew", bench.timeout(limit, store.renew(&[renewal(&claim, bench.ttl)])).await.map(only));
    expect_no_answer("release", bench.timeout(limit, store.release(&[plain_release(&claim)])).await.map(only));
    expect_no_answer("inspect", bench.timeout(limit, store.inspect(&request.name)).await);
    expect_no_answer("inspect", bench.timeout(limit, store.inspect(&free.name)).await);
    expect_no_answer("list", bench.timeout(limit, store.list("", None, 10)).await);
    let broken = store.break_lease(&request.name, token(), Break::AfterExpiry);
    expect_no_answer("break", bench.timeout(limit, broken).await);
    let batch: Vec<_> = (0..8).map(|number| bench.request(&name(&format!("many/{number}")))).collect();
    for answer in bench.timeout(limit, store.acquire(&batch)).await.into_iter().flatten() {
        expect_no_answer("acquire many", Some(answer));
    }
}

fn token() -> lease_core::FencingToken {
    lease_core::FencingToken::new(1).expect("not zero")
}

fn expect_no_answer<T: Debug>(what: &str, answer: Option<Result<T>>) {
    match answer {
        None => {}
        Some(Err(error)) => assert!(error.is_transient(), "{what}: {error:?} is not transient"),
        Some(Ok(answer)) => panic!("{what}: an answer of an unreachable store: {answer:?}"),
    }
}

async fn expect_service(bench: &Bench, store: &dyn LeaseStore) {
    let request = bench.request(&name("afterwards"));
    let limit = bench.ttl * 2 + bench.tolerance();
    bench
        .poll("the store serves again", limit, async || {
            let release = match bench.timeout(bench.ttl, store.acquire(from_ref(&request))).await.map(only)? {
                Ok(Acquired::Granted(grant)) => plain_release(&claim(&request, grant)),
                // The release of an earlier round was executed, and only its answer was lost.
                Ok(Acquired::Spent) => return Some(()),
                Ok(held) => panic!("the name is held, but only one holder has asked for it: {held:?}"),
                Err(_) => return None,
            };
            only(store.release(&[release]).await).ok().map(drop)
        })
        .await;
    let fresh = bench.request(&name("afterwards"));
    let grant = granted(store, &fresh).await;
    only(store.release(&[plain_release(&claim(&fresh, grant))]).await).expect("release answers");
}
