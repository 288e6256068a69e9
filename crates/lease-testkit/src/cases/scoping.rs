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
    let client = bench.builder_of(chaos).close_grace(bench.ttl / 4).build();
    let lease = held(&client, &name("job"), bench.ttl * 2).await;
    bench.freeze().await;
    bench.within("close ends", bench.ttl * 4 + bench.patience(), client.close()).await.expect("closed");
    assert!(!lease.is_held());
    bench.thaw().await;
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
