//! Scopes of exclusive work, and the close of a client (S17).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use lease_core::{Break, ErrorKind, LeaseStore};

use crate::{
    bench::Bench,
    calls::{held, name},
};

/// Exclusive work returns its outcome, and the lease is released.
pub async fn s17_a_scope_runs_its_work_and_releases(bench: &Bench) {
    let client = bench.client().await;
    let work = async |lease: lease_core::LeaseHandle| {
        assert!(lease.is_held());
        lease.token()
    };
    let first = client.run("job", bench.ttl * 20, work).await.expect("the work is done");
    let second = client.run("job", bench.ttl * 20, work).await.expect("the work is done");
    assert!(second > first);
    assert!(client.inspect("job").await.expect("inspect answers").is_none());
}

/// Exclusive work is dropped when its lease is lost. The next holder begins only afterwards.
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
    let token = bench.poll("the work begins", bench.tolerance(), async || token.get().copied()).await;
    operator.break_lease("job", token, Break::AfterExpiry).await.expect("break answers");
    let won = bench.acquire_within(&rival, &name("job"), ttl * 2 + bench.tolerance()).await;
    assert!(ended.load(Ordering::SeqCst), "the next holder began before the work had ended");
    assert!(won.is_held());
    let outcome = bench.expect_soon("the scope ends", scope).await.expect("no panic");
    assert!(outcome.is_err_and(|error| error.kind() == ErrorKind::Lost));
}

/// A dropped scope drops its work before it releases the lease.
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
    bench.poll("the work begins", bench.tolerance(), async || begun.load(Ordering::SeqCst).then_some(())).await;
    let waits = tokio::spawn(async move { rival.acquire("job", Duration::from_secs(30)).await });
    bench.sleep(bench.ttl / 4).await;
    scope.abort();
    let won = bench.expect_within("the rival wins", bench.ttl * 3 + bench.tolerance(), waits).await.expect("no panic");
    assert!(ended.load(Ordering::SeqCst), "the next holder began before the work had ended");
    drop(won);
}

/// `close` notifies the scopes, waits for them, and then releases all leases. It closes all clones, and can be called again.
pub async fn s17_close_waits_for_scopes_and_releases_everything(bench: &Bench) {
    let (client, store) = (bench.builder().await.close_grace(bench.ttl * 4).build(), bench.store().await);
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
                assert!(lease.is_held(), "the lease ended before its work");
                steps.store(2, Ordering::SeqCst);
            };
            client.run("scope", ttl, work).await
        }
    });
    bench.poll("the work begins", bench.tolerance(), async || (steps.load(Ordering::SeqCst) == 1).then_some(())).await;
    bench.expect_within("close ends", bench.ttl * 4 + bench.tolerance(), client.clone().close()).await.expect("closed");
    assert_eq!(steps.load(Ordering::SeqCst), 2, "`close` did not wait for the work");
    bench.expect_soon("the scope ends", scope).await.expect("no panic").expect("the work was done");
    assert!(leases.iter().all(|lease| !lease.is_held()));
    assert!(store.list("", None, 10).await.expect("list answers").is_empty(), "a lease was not released");
    let tried = client.try_acquire("job", ttl).await;
    assert!(tried.is_err_and(|error| error.kind() == ErrorKind::Closed));
    bench.expect_soon("close ends", client.close()).await.expect("closed again");
}

/// Work that ignores the close is dropped after the grace period.
pub async fn s17_close_drops_work_after_the_grace(bench: &Bench) {
    let (client, rival) = (bench.builder().await.close_grace(bench.ttl / 4).build(), bench.client().await);
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
    bench.poll("the work begins", bench.tolerance(), async || begun.load(Ordering::SeqCst).then_some(())).await;
    bench.expect_within("close ends", bench.ttl + bench.tolerance(), client.close()).await.expect("closed");
    assert!(ended.load(Ordering::SeqCst));
    let outcome = bench.expect_soon("the scope ends", scope).await.expect("no panic");
    assert!(outcome.is_err_and(|error| error.kind() == ErrorKind::Closed));
    held(&rival, &name("job"), bench.ttl).await.release().await.expect("release answers");
}

/// `close` ends although the store does not answer.
pub async fn s17_close_ends_though_the_store_is_frozen(bench: &Bench) {
    let chaos = bench.chaos_store().await;
    let client = bench.builder_of(chaos).close_grace(bench.ttl / 4).build();
    let lease = held(&client, &name("job"), bench.ttl * 2).await;
    bench.freeze().await;
    bench.expect_within("close ends", bench.ttl * 4 + bench.tolerance(), client.close()).await.expect("closed");
    assert!(!lease.is_held());
    bench.thaw().await;
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
