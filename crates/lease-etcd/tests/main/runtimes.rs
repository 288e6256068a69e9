//! One store on several runtimes: each runtime uses only connections that were made on it.

use std::{thread, time::Duration};

use integration_tests::Etcd;
use lease_core::{LeaseStore, Released};
use tokio::runtime::{Builder, Runtime};

use crate::common::*;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The store is created on a runtime that is not driven afterwards, and used on other runtimes that come and go.
#[test]
fn s15_a_store_outlives_the_runtimes_that_use_it() {
    let idle = runtime();
    let (etcd, store) = idle.block_on(async {
        let etcd = Etcd::start().await;
        let store = options().connect([etcd.url()]).await.unwrap();
        assert!(is_free(&store, "job").await);
        (etcd, store)
    });
    for round in 0..10 {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let store = store.clone();
                thread::spawn(move || {
                    runtime().block_on(async {
                        let (claim, _) = granted(&store, &request(&format!("job/{round}/{thread}"), LONG)).await;
                        extended(&store, &claim, LONG).await;
                        assert_eq!(release(&store, &claim).await, Released::Freed);
                    });
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
    idle.block_on(async { assert!(is_free(&store, "job").await) });
    drop(etcd);
}

#[test]
fn l10_a_client_with_a_runtime_of_its_own_keeps_its_leases_though_the_application_blocks() {
    let connect = async || options().connect([Etcd::shared().await.url()]).await.unwrap();
    integration_tests::a_blocked_application_keeps_its_leases(connect, Duration::from_secs(3));
}

/// The same holds for the watch: a waiter on a driven runtime is hinted, even if the first subscription was on another one.
#[test]
fn l01_hints_come_to_a_runtime_that_is_run() {
    let (first, second) = (runtime(), runtime());
    let (etcd, store, hints) = first.block_on(async {
        let etcd = Etcd::start().await;
        let store = options().connect([etcd.url()]).await.unwrap();
        let mut hints = store.subscribe(&name("other"));
        within("the watch stands", PATIENCE, hints.next()).await;
        (etcd, store, hints)
    });
    // The first runtime is not driven meanwhile.
    second.block_on(async {
        pass(Duration::from_secs(4)).await;
        let mut hints = store.subscribe(&name("job"));
        within("the watch stands", PATIENCE, hints.next()).await;
        let (claim, _) = granted(&store, &request("job", LONG)).await;
        release(&store, &claim).await;
        within("the release", Duration::from_secs(3), hints.next()).await;
    });
    drop((hints, etcd));
}
