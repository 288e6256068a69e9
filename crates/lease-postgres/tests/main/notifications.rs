//! Hints by `LISTEN`: when they are received, and that they are received again after a fault.

use std::time::Duration;

use integration_tests::{Direction, Postgres, Proxy, every_kind_of_release_is_hinted, subscribed};
use lease_core::{Acquired, Clock, LeaseStore, Released, SystemClock};
use lease_postgres::{PostgresStore, PostgresStoreOptions};

use crate::common::{
    another, claim, eventually, granted, is_hinted_within, name, plain_release, release, request, store, store_with,
};

/// Far below the time of a poll, far above that of a hint.
const SOON: Duration = Duration::from_secs(5);
/// Long enough to notice a hint that must not be sent.
const QUIET: Duration = Duration::from_millis(150);

async fn listeners(store: &PostgresStore) -> i64 {
    sqlx::query_scalar("select count(*) from pg_stat_activity where query = 'LISTEN \"' || $1 || '\"'")
        .bind(store.notification_channel())
        .fetch_one(&crate::common::pool().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn l1_a_release_is_hinted_to_other_processes_in_every_form() {
    let store = store().await;
    every_kind_of_release_is_hinted(&store, &another(&store).await).await;
}

#[tokio::test]
async fn a_batch_of_the_longest_names_is_hinted_in_full() {
    let store = store().await;
    let requests: Vec<_> = (0..256).map(|at| request(&format!("{at:0>255}"), "a")).collect();
    let claims: Vec<_> = requests
        .iter()
        .zip(store.acquire(&requests).await)
        .map(|(request, answer)| match answer.unwrap() {
            Acquired::Granted(grant) => claim(request, grant),
            other => panic!("unexpected answer: {other:?}"),
        })
        .collect();
    let mut wakeups = Vec::new();
    for request in &requests {
        wakeups.push(subscribed(&store, request.name.as_str()).await);
    }
    store.release(&claims.iter().map(plain_release).collect::<Vec<_>>()).await;
    for wakeups in &mut wakeups {
        assert!(is_hinted_within(wakeups, SOON).await);
    }
}

#[tokio::test]
async fn a_grant_is_announced_when_it_asks_for_that() {
    let store = store().await;
    let mut wakeups = subscribed(&store, "job").await;
    let one = request("job", "a").with_announce(true);
    let grant = granted(&store, &one).await;
    assert!(is_hinted_within(&mut wakeups, SOON).await, "one");
    release(&store, &claim(&one, grant)).await;
    assert!(is_hinted_within(&mut wakeups, SOON).await);

    let (loud, quiet) = (crate::common::unique("loud"), crate::common::unique("quiet"));
    let (mut hears, mut hears_not) = (subscribed(&store, &loud).await, subscribed(&store, &quiet).await);
    let many = [request(&loud, "a").with_announce(true), request(&quiet, "a")];
    store.acquire(&many).await;
    assert!(is_hinted_within(&mut hears, SOON).await, "many");
    assert!(!is_hinted_within(&mut hears_not, QUIET).await, "many");
}

/// A release is the last thing that a process does: no task of it runs after the answer.
#[test]
fn l1_a_hint_is_sent_though_the_process_ends_right_after_the_release() {
    let waiting = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (store, mut wakeups) = waiting.block_on(async {
        let store = store().await;
        let wakeups = subscribed(&store, "job").await;
        (store, wakeups)
    });
    for prepared in [true, false] {
        let process = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (other, mine) = process.block_on(async {
            let options = crate::common::options_of(&store).with_prepared_statements(prepared);
            let other = options.with_pool(&crate::common::pool().await).unwrap();
            let request = request("job", "a");
            let grant = granted(&other, &request).await;
            (other, claim(&request, grant))
        });
        process.block_on(release(&other, &mine));
        drop((other, process));
        assert!(waiting.block_on(is_hinted_within(&mut wakeups, SOON)), "{prepared}");
    }
}

/// A hint has a lasting connection of its own, even if there is only one for operations.
#[tokio::test]
async fn a_hint_takes_no_connection_from_a_call() {
    let store = store().await;
    let application = crate::common::unique("narrow");
    let options = crate::common::options_of(&store).with_max_connections(1);
    let narrow = options.connect(&crate::common::url_of(&application).await).await.unwrap();
    let pairs = async || {
        for _ in 0..10 {
            let request = request("job", "a");
            let grant = granted(&narrow, &request).await;
            release(&narrow, &claim(&request, grant)).await;
        }
        crate::common::pass(QUIET).await;
    };
    pairs().await;
    let sessions = crate::common::sessions(&application).await;
    assert!(sessions.len() <= 2, "{sessions:?}");
    pairs().await;
    assert_eq!(crate::common::sessions(&application).await, sessions);
}

/// A transaction that notifies waits, at its commit, for all others of the server that do. That delays hints, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s20_notifications_of_other_software_delay_no_lease() {
    // Each commit takes 100 ms.
    let slow = [("fsync", "on"), ("commit_delay", "100000"), ("commit_siblings", "0")];
    let server = Postgres::start_local(&slow).await.unwrap();
    let store = PostgresStore::connect(server.url()).await.unwrap();
    store.migrate().await.unwrap();
    let mut wakeups = subscribed(&store, "job-0").await;
    let other = sqlx::PgPool::connect(&server.url_for("template1")).await.unwrap();
    sqlx::raw_sql("create table theirs (n int)").execute(&other).await.unwrap();
    let mut others = Vec::new();
    for _ in 0..15 {
        let url = server.url_for("template1");
        others.push(tokio::spawn(async move {
            let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
            loop {
                let text = "begin; insert into theirs values (1); select pg_notify('theirs', 'x'); commit";
                sqlx::raw_sql(text).execute(&pool).await.unwrap();
            }
        }));
    }
    crate::common::pass(Duration::from_millis(500)).await;
    let clock = SystemClock;
    for at in 0..5 {
        let one = request(&format!("job-{at}"), "a").with_announce(true);
        let began = clock.now();
        let grant = granted(&store, &one).await;
        release(&store, &claim(&one, grant)).await;
        let many: Vec<_> = (0..8).map(|also| request(&format!("job-{at}-{also}"), "a").with_announce(true)).collect();
        let answers = store.acquire(&many).await;
        assert!(answers.iter().all(|answer| matches!(answer, Ok(Acquired::Granted(_)))), "{answers:?}");
        let releases: Vec<_> = many.iter().map(|request| plain_release(&claim(request, grant))).collect();
        for answer in store.release(&releases).await {
            assert_eq!(answer.unwrap(), Released::Freed);
        }
        let took = clock.now().saturating_since(began);
        assert!(took < Duration::from_millis(900), "{took:?} for two commits, and two that no call waits for");
    }
    assert!(is_hinted_within(&mut wakeups, Duration::from_secs(15)).await, "the hint may be late, but is sent");
    others.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn one_connection_serves_all_and_ends_with_the_store() {
    let store = store().await;
    let watcher = another(&store).await;
    let mut all = Vec::new();
    for at in 0..20 {
        all.push(subscribed(&store, &format!("job-{at}")).await);
        all.push(subscribed(&store.clone(), "job-0").await);
    }
    assert_eq!(listeners(&watcher).await, 1);
    drop(store);
    eventually("no listener is left", async || listeners(&watcher).await == 0).await;
}

#[tokio::test]
async fn turned_off_there_is_no_connection_and_no_notification() {
    let store = store_with(PostgresStoreOptions::new().with_notifications(false)).await;
    let listening = another(&store).await;
    let mut wakeups = subscribed(&listening, "job").await;
    let mut never = store.subscribe(&name("job"));
    let announced = request("job", "a").with_announce(true);
    let grant = granted(&store, &announced).await;
    release(&store, &claim(&announced, grant)).await;
    assert!(!is_hinted_within(&mut wakeups, QUIET).await);
    assert!(!is_hinted_within(&mut never, QUIET).await);
    assert_eq!(listeners(&store).await, 1);
}

#[tokio::test]
async fn s20_a_forged_hint_grants_nothing_and_breaks_nothing() {
    let store = store().await;
    let mut wakeups = subscribed(&store, "job").await;
    granted(&store, &request("job", "a")).await;
    for payload in ["job", "", "no name of ours", &"x".repeat(7999)] {
        sqlx::query("select pg_notify($1, $2)")
            .bind(store.notification_channel())
            .bind(payload)
            .execute(&crate::common::pool().await)
            .await
            .unwrap();
        assert!(is_hinted_within(&mut wakeups, SOON).await, "{payload:?}");
        assert!(crate::common::is_held(&store, &request("job", "b")).await);
    }
}

#[tokio::test]
async fn s20_all_waiters_are_hinted_after_a_reconnect_and_hints_are_received_again() {
    let store = store().await;
    let (mut one, mut two) = (subscribed(&store, "one").await, subscribed(&store, "two").await);
    for _ in 0..3 {
        let ended: i64 = sqlx::query_scalar(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where query = 'LISTEN \"' || $1 || '\"'",
        )
        .bind(store.notification_channel())
        .fetch_one(&crate::common::pool().await)
        .await
        .unwrap();
        assert_eq!(ended, 1);
        assert!(is_hinted_within(&mut one, SOON).await && is_hinted_within(&mut two, SOON).await);
        let request = request("one", "a");
        let grant = granted(&store, &request).await;
        release(&store, &claim(&request, grant)).await;
        assert!(is_hinted_within(&mut one, SOON).await);
    }
}

#[tokio::test]
async fn s20_hints_are_received_again_after_the_server_was_down() {
    let postgres = Postgres::start_local(&[]).await.unwrap();
    let store = PostgresStore::connect(postgres.url()).await.unwrap();
    store.migrate().await.unwrap();
    let mut wakeups = subscribed(&store, "job").await;
    postgres.kill().await.unwrap();
    // A waiter that subscribes while the server is down is hinted, too. The store takes a moment to notice the loss: until then it
    // takes the subscription for established, and hints at once.
    let mut late = store.subscribe(&name("late"));
    eventually("it is noticed", async || {
        late = store.subscribe(&name("late"));
        !is_hinted_within(&mut late, QUIET).await
    })
    .await;
    postgres.start_again().await.unwrap();
    let reconnect = SOON + Duration::from_secs(5);
    assert!(is_hinted_within(&mut wakeups, reconnect).await && is_hinted_within(&mut late, reconnect).await);
}

#[tokio::test]
async fn s20_a_connection_that_died_silently_is_noticed() {
    let proxy = Proxy::start(Postgres::shared().await.address().unwrap()).await.unwrap();
    let url = Postgres::shared().await.url_through(&proxy);
    let table = crate::common::unique("leases");
    let store = PostgresStoreOptions::new().with_table(&table).connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let mut wakeups = subscribed(&store, "job").await;
    proxy.black_hole(Direction::Both);
    assert!(!is_hinted_within(&mut wakeups, QUIET).await);
    proxy.heal();
    // Hints are received again, over the old connection of the proxy or over a new one of the store.
    let other = PostgresStoreOptions::new().with_table(&table).with_pool(&crate::common::pool().await).unwrap();
    let hinted = async {
        loop {
            let request = request("job", "a");
            let grant = granted(&other, &request).await;
            release(&other, &claim(&request, grant)).await;
            if is_hinted_within(&mut wakeups, Duration::from_millis(200)).await {
                return true;
            }
        }
    };
    tokio::select! {
        hinted = hinted => assert!(hinted),
        () = crate::common::pass(Duration::from_secs(30)) => panic!("no hint after the network was there again"),
    }
}

/// A notification is one more request, and its commit waits for all others of the server: it is omitted if there is no listener.
#[tokio::test]
async fn a_release_notifies_only_if_there_is_a_listener() {
    let store = store().await;
    let mut everything = sqlx::postgres::PgListener::connect(crate::common::url().await).await.unwrap();
    everything.listen(&store.notification_channel()).await.unwrap();
    let pairs = async |name_text: &str| {
        let requests: Vec<_> = (0..3).map(|number| request(&format!("{name_text}-{number}"), "a")).collect();
        let mut claims = Vec::new();
        for request in &requests {
            claims.push(claim(request, granted(&store, request).await));
        }
        release(&store, &claims[0]).await;
        let rest = [plain_release(&claims[1]), plain_release(&claims[2])];
        assert!(store.release(&rest).await.iter().all(|answer| matches!(answer, Ok(Released::Freed))));
    };
    pairs("unheard").await;
    let waiting = another(&store).await;
    let _wakeups = subscribed(&waiting, "anything").await;
    pairs("heard").await;
    for number in 0..3 {
        let notification = integration_tests::within("the hint", SOON, everything.recv()).await.unwrap();
        assert_eq!(notification.payload(), format!("heard-{number}"));
    }
}

/// A waiter on a driven runtime is hinted, even if another runtime subscribed first.
#[test]
fn l10_hints_reach_a_runtime_that_is_driven() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let (store, _wakeups) = first.block_on(async {
        let store = store().await;
        let wakeups = subscribed(&store, "job").await;
        (store, wakeups)
    });
    // The first runtime is not driven meanwhile.
    second.block_on(async {
        let mut wakeups = subscribed(&store, "job").await;
        let request = request("job", "a");
        let grant = granted(&store, &request).await;
        release(&store, &claim(&request, grant)).await;
        assert!(is_hinted_within(&mut wakeups, SOON).await);
    });
    drop((store, first));
}

/// A hint that is stuck on its runtime delays no hint of another one.
#[test]
fn l10_hints_of_a_runtime_that_is_driven_are_sent() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let pair = async |store: &PostgresStore, name: &str| {
        let request = request(name, "a");
        let grant = granted(store, &request).await;
        release(store, &claim(&request, grant)).await;
    };
    let store = first.block_on(async {
        let store = store().await;
        // There is one connection for many hints: some of them need a second one, which is not open yet.
        let pairs = (0..8).map(|number| pair(&store, ["b", "c", "d", "e", "f", "g", "h", "i"][number]));
        futures::future::join_all(pairs).await;
        store
    });
    second.block_on(async {
        let mut wakeups = subscribed(&store, "job").await;
        pair(&store, "job").await;
        assert!(is_hinted_within(&mut wakeups, SOON).await);
    });
    drop((store, first));
}

#[test]
fn it_survives_the_runtime_of_the_first_subscription() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let first = runtime();
    let (store, _wakeups) = first.block_on(async {
        let store = store().await;
        let wakeups = subscribed(&store, "job").await;
        (store, wakeups)
    });
    drop(first);
    // Outside a runtime: nothing happens, and nothing panics.
    let mut outside = store.subscribe(&name("job"));
    runtime().block_on(async {
        let mut wakeups = store.subscribe(&name("job"));
        assert!(is_hinted_within(&mut wakeups, SOON).await);
        assert!(is_hinted_within(&mut outside, SOON).await);
        let other = crate::common::options_of(&store).with_pool(&crate::common::pool().await).unwrap();
        let request = request("job", "a");
        let grant = granted(&other, &request).await;
        release(&other, &claim(&request, grant)).await;
        assert!(is_hinted_within(&mut wakeups, SOON).await);
    });
    drop((store, outside));
}
