//! One store on several runtimes: each runtime has its own connections, which end with it.

use std::time::Duration;

use fred::{
    clients::Client,
    prelude::{ClientLike, Config},
};
use integration_tests::Redis;
use lease_core::{ErrorKind, LeaseClient, LeaseStore, Released};
use tokio::runtime::{Builder, Runtime};

use crate::common::{TTL, acquire, claim, granted, is_hinted_within, name, options, release, request};

const SOON: Duration = Duration::from_secs(5);

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn server() -> (Runtime, &'static Redis) {
    let keeper = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = keeper.block_on(Redis::shared());
    (keeper, server)
}

/// As with a static store and a `main` with several `block_on`s: the first runtime is not driven any more.
#[test]
fn s15_a_store_whose_first_runtime_idles_serves_others() {
    let (_keeper, server) = server();
    let first = one_thread();
    let store = first.block_on(options().connect(server.url())).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let store = store.clone();
            std::thread::spawn(move || {
                for round in 0..5 {
                    // A new runtime for each piece of work.
                    one_thread().block_on(async {
                        let client = LeaseClient::new(store.clone());
                        let lease =
                            client.try_acquire(format!("job-{thread}-{round}"), TTL).await.unwrap().acquired().unwrap();
                        lease.release().await.unwrap();
                        let mut wakeups = store.subscribe(&name("watched"));
                        assert!(is_hinted_within(&mut wakeups, SOON).await);
                    });
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    // The store still works on the first runtime.
    first.block_on(async {
        let one = request("job", "a");
        let grant = granted(&store, &one).await;
        assert_eq!(release(&store, &claim(&one, grant)).await, Released::Freed);
        assert_eq!(store.list("", None, 100).await.unwrap(), []);
    });
}

/// The connections of a runtime that has ended are closed with the next call.
#[test]
fn s15_connections_end_with_their_runtimes() {
    let keeper = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = keeper.block_on(Redis::start_local(&[])).unwrap();
    let store = keeper.block_on(options().connect(server.url())).unwrap();
    for _ in 0..10 {
        one_thread().block_on(async { assert_eq!(store.inspect(&name("job")).await.unwrap(), None) });
    }
    keeper.block_on(async {
        crate::common::eventually("the connections are closed", async || {
            let list = server.command(&["CLIENT", "LIST"]).await.unwrap().text();
            // The store's connection, and that of the CLIENT LIST.
            list.lines().count() <= 2
        })
        .await;
    });
}

/// The application connected its client on a runtime that has ended. The error says so, and the call was not sent.
#[test]
fn a_client_whose_runtime_has_ended_is_unavailable_and_the_message_names_the_runtime() {
    let (_keeper, server) = server();
    let first = one_thread();
    let options = options().with_command_timeout(Duration::from_millis(300));
    let store = first.block_on(async {
        let client = Client::new(Config::from_url(server.url()).unwrap(), None, None, None);
        client.init().await.unwrap();
        let store = options.with_client(client).unwrap();
        granted(&store, &request("warm", "a")).await;
        store
    });
    drop(first);
    one_thread().block_on(async {
        let error = acquire(&store, &request("job", "a")).await.unwrap_err();
        println!("{error:?}");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("runtime"), "{error}");
    });
}

#[test]
fn l10_a_client_with_a_runtime_of_its_own_keeps_its_leases_though_the_application_blocks() {
    integration_tests::a_blocked_application_keeps_its_leases(crate::common::store, Duration::from_secs(2));
}
