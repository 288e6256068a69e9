//! Watching who holds a lease (L5).

use std::time::Duration;

use lease_core::{ErrorKind, LeaseOptions};

use crate::{
    Fault, Operation,
    bench::Bench,
    calls::{held, name},
};

/// The longest poll of a waiter behind the push.
const POLL: Duration = Duration::from_secs(2);

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
