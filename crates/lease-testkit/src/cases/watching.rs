//! Watches of a lease (L5).

use lease_core::{ErrorKind, LeaseOptions};

use crate::{
    Fault, Operation,
    bench::Bench,
    calls::{held, name},
};

/// A watch begins with the current state and ends up with the latest. Its tokens never go down.
pub async fn l05_a_watch_shows_the_current_state_and_then_the_latest(bench: &Bench) {
    let (holder, watcher) = (bench.client().await, bench.client().await);
    let options = LeaseOptions::new(bench.ttl * 30).with_announce(true);
    let first = held(&holder, &name("job"), &options).await;
    let mut watch = watcher.watch("job").expect("watching");
    let state =
        bench.expect_soon("the current state", watch.next()).await.expect("a state").expect("the store answers");
    assert_eq!(state.map(|record| record.token), Some(first.token()));
    let mut token = first.token();
    first.release().await.expect("release answers");
    for _ in 0..3 {
        let lease = held(&holder, &name("job"), &options).await;
        bench
            .expect_within(
                "the watch shows the latest state",
                bench.longest_poll(watcher.capabilities()) + bench.tolerance(),
                async {
                    loop {
                        if let Some(record) = watch.next().await.expect("a state").expect("the store answers") {
                            assert!(record.token >= token, "the token went down");
                            token = record.token;
                            if token == lease.token() {
                                return;
                            }
                        }
                    }
                },
            )
            .await;
        lease.release().await.expect("release answers");
    }
    bench
        .expect_within(
            "the watch shows that the name is free",
            bench.longest_poll(watcher.capabilities()) + bench.tolerance(),
            async { while watch.next().await.expect("a state").expect("the store answers").is_some() {} },
        )
        .await;
}

/// A watch reports an error of the store, and goes on.
pub async fn l05_a_watch_shows_trouble_and_goes_on(bench: &Bench) {
    let (chaos, holder) = (bench.chaos_store().await, bench.client().await);
    let watcher = bench.client_of(chaos.clone());
    let mut watch = watcher.watch("job").expect("watching");
    let state =
        bench.expect_soon("the current state", watch.next()).await.expect("a state").expect("the store answers");
    assert_eq!(state, None);
    chaos.inject(Fault::Fail(ErrorKind::Unavailable).on(Operation::Inspect));
    let limit = bench.longest_poll(watcher.capabilities()) + bench.tolerance();
    let outcome = bench.expect_within("the error", limit, watch.next()).await.expect("a state");
    assert!(outcome.is_err_and(|error| error.is_transient()));
    chaos.clear_rules();
    let lease = held(&holder, &name("job"), bench.ttl * 30).await;
    bench
        .expect_within(
            "the watch shows the lease",
            bench.longest_poll(watcher.capabilities()) * 2 + bench.tolerance(),
            async {
                loop {
                    if let Ok(Some(record)) = watch.next().await.expect("a state") {
                        return assert_eq!(record.token, lease.token());
                    }
                }
            },
        )
        .await;
    watcher.close().await.expect("closed");
    let end = bench.expect_soon("the watch ends", watch.next()).await;
    assert!(end.is_some_and(|end| end.is_err_and(|error| error.kind() == ErrorKind::Closed)));
}
