//! Sessions end, and leases do not.

use std::time::Duration;

use integration_tests::{Direction, ZooKeeper, eventually, is_hinted_within, pass, within};
use lease_core::{ErrorKind, LeaseClient, LeaseOptions, LeaseStore};
use lease_document::Documents;
use lease_zookeeper::{ZooKeeperStore, ZooKeeperStoreOptions};

use crate::common::{LONG, PATIENCE, address, driver, name, options, proxy};

const SESSION: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(8);

fn session(store: &ZooKeeperStore) -> String {
    let printed = format!("{:?}", store.documents());
    let from = printed.find("id: ").unwrap();
    printed[from..].split(',').next().unwrap().to_owned()
}

fn short_sessions() -> ZooKeeperStoreOptions {
    options().with_session_timeout(SESSION).with_connect_timeout(SESSION)
}

/// Holds a lease and waits for one while something ends the session.
async fn outlives(
    server: &ZooKeeper,
    store: ZooKeeperStore,
    options: &ZooKeeperStoreOptions,
    end: impl Future<Output = ()>,
) {
    let other = LeaseClient::new(options.connect(&address(server)).await.unwrap());
    let client = LeaseClient::new(store.clone());
    let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    let held = other.try_acquire("held", LONG).await.unwrap().acquired().unwrap();
    let waiter = tokio::spawn({
        let client = client.clone();
        async move { client.acquire("held", LeaseOptions::new(LONG)).await }
    });
    let before = session(&store);
    end.await;
    eventually("calls succeed", async || store.inspect(&name("job")).await.is_ok()).await;
    assert_ne!(session(&store), before, "the session has ended");
    // Two renewals and more.
    pass(TTL).await;
    assert!(lease.is_held(), "{:?}", lease.state());
    // Push is back.
    let mut hints = store.subscribe(&name("other"));
    within("the watch stands", PATIENCE, hints.next()).await;
    let rival = other.try_acquire("other", LONG).await.unwrap().acquired().unwrap();
    while is_hinted_within(&mut hints, Duration::from_millis(200)).await {}
    rival.release().await.unwrap();
    assert!(is_hinted_within(&mut hints, Duration::from_millis(800)).await);
    held.release().await.unwrap();
    let lease = within("the waiter", PATIENCE, waiter).await.unwrap().unwrap();
    lease.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_outlives_a_server_that_is_frozen_for_longer_than_the_session() {
    let server = ZooKeeper::start_local(&[]).await.unwrap();
    let options = short_sessions();
    let store = options.connect(&address(&server)).await.unwrap();
    outlives(&server, store, &options, async {
        server.freeze().await.unwrap();
        pass(SESSION * 3).await;
        server.thaw().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_outlives_a_cut_that_is_longer_than_the_session() {
    let server = ZooKeeper::shared().await;
    let (network, through) = proxy(server).await;
    let options = short_sessions();
    let store = options.connect(&through).await.unwrap();
    outlives(server, store, &options, async {
        network.black_hole(Direction::Both);
        pass(SESSION * 3).await;
        network.heal();
    })
    .await;
}

/// A call fails at once while there is no connection: it is certainly not done.
#[tokio::test]
async fn s19_without_a_connection_calls_are_unavailable() {
    let server = ZooKeeper::shared().await;
    let (network, through) = proxy(server).await;
    let store = options().connect(&through).await.unwrap();
    network.refuse_connections();
    network.reset_connections();
    eventually("the cut is noticed", async || store.inspect(&name("job")).await.is_err()).await;
    let error = store.documents().put_if(&name("job"), b"{}".to_vec(), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    network.heal();
    eventually("calls succeed", async || store.inspect(&name("job")).await.is_ok()).await;
    assert_eq!(store.inspect(&name("job")).await.unwrap(), None, "nothing was sent later");
}

/// A write whose answer is lost with its connection may have been done.
#[tokio::test]
async fn a_write_without_an_answer_is_indeterminate() {
    let server = ZooKeeper::shared().await;
    let (network, through) = proxy(server).await;
    let store = options().connect(&through).await.unwrap();
    network.drop_answers();
    let job = name("job");
    let breaks = async {
        pass(Duration::from_millis(200)).await;
        network.reset_connections();
    };
    let (written, ()) = tokio::join!(store.documents().put_if(&job, b"{}".to_vec(), None), breaks);
    assert_eq!(written.unwrap_err().kind(), ErrorKind::Indeterminate);
    network.heal();
    eventually("calls succeed", async || store.documents().get(&job).await.is_ok()).await;
    assert!(store.documents().get(&job).await.unwrap().document.is_some());
}

#[tokio::test]
async fn an_application_may_bring_its_own_client() {
    let server = ZooKeeper::shared().await;
    let (network, through) = proxy(server).await;
    let connector = lease_zookeeper::zookeeper_client::Client::connector();
    let client = connector.with_session_timeout(SESSION).connect(&through).await.unwrap();
    let store = options().with_client(client.clone()).await.unwrap();
    let leases = LeaseClient::new(store.clone());
    let lease = leases.try_acquire("job", LONG).await.unwrap().acquired().unwrap();
    lease.release().await.unwrap();
    network.black_hole(Direction::Both);
    pass(SESSION * 3).await;
    network.heal();
    let error = store.inspect(&name("job")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("with a new client"), "{error}");
}

/// The driver runs on the runtime on which the store was opened. When that is gone, the next calls begin a session on theirs.
#[test]
fn a_store_outlives_the_runtime_on_which_it_was_opened() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let (server, store) = first.block_on(async {
        let server = ZooKeeper::start_local(&[]).await.unwrap();
        let store = options().connect(&address(&server)).await.unwrap();
        store.inspect(&name("job")).await.unwrap();
        drop(store.revocations());
        (server, store)
    });
    first.shutdown_background();
    second.block_on(async {
        eventually("calls succeed", async || store.inspect(&name("job")).await.is_ok()).await;
        let client = LeaseClient::new(store.clone());
        assert!(client.try_acquire("job", LONG).await.unwrap().is_acquired());
        drop(driver(&server).await);
    });
}
