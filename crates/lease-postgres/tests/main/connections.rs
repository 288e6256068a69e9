//! The store's own connections: their settings, their number, and that nothing else runs on them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use integration_tests::{Postgres, Proxy};
use lease_core::{Acquired, ErrorKind, LeaseStore, Renewed};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::common::{
    acquire, another, claim, eventually, granted, is_held, name, pass, renew, renewal, request, sessions, unique,
    url_of,
};

/// The application's use of its pool must not affect a grant: on a connection that was left in a transaction, all later statements
/// would be rolled back.
#[tokio::test]
async fn s1_no_grant_is_judged_inside_a_transaction_of_the_application() {
    let store = crate::common::store().await;
    let rival = another(&store).await;
    for (way, script) in ["begin; select pg_sleep(0.3)", "begin; select 1/0; commit"].into_iter().enumerate() {
        for size in [1, 5] {
            let pool = sqlx::postgres::PgPoolOptions::new()
                .max_connections(size)
                .connect(crate::common::url().await)
                .await
                .unwrap();
            // Cut by a time-out of the application, or failed halfway: sqlx returns the connection to the pool as it is.
            tokio::select! {
                _ = sqlx::raw_sql(script).execute(&pool) => {}
                () = pass(Duration::from_millis(50)) => {}
            }
            pass(Duration::from_millis(400)).await;
            let shared = crate::common::options_of(&store).with_pool(&pool).unwrap();
            let requests: Vec<_> = (0..4).map(|at| request(&format!("job-{way}-{size}-{at}"), "a")).collect();
            for request in &requests {
                granted(&shared, request).await;
            }
            for _ in 0..size {
                let mut connection = pool.acquire().await.unwrap();
                sqlx::raw_sql("rollback").execute(&mut *connection).await.unwrap();
            }
            for request in &requests {
                assert!(is_held(&rival, &crate::common::request(request.name.as_str(), "b")).await, "{}", request.name);
            }
        }
    }
}

/// All connections of the application's pool are in use: leases have their own.
#[tokio::test]
async fn a_busy_pool_of_the_application_costs_no_lease() {
    let store = crate::common::store().await;
    let pool =
        sqlx::postgres::PgPoolOptions::new().max_connections(2).connect(crate::common::url().await).await.unwrap();
    let client = lease_core::LeaseClient::new(crate::common::options_of(&store).with_pool(&pool).unwrap());
    let ttl = Duration::from_secs(2);
    let lease = client.try_acquire("job", ttl).await.unwrap().acquired().unwrap();
    let busy = futures::future::join_all((0..4).map(|_| sqlx::raw_sql("select pg_sleep(30)").execute(&pool)));
    tokio::select! {
        _ = busy => panic!("no statement sleeps for so short a time"),
        reason = lease.lost() => panic!("lost: {reason}"),
        () = pass(ttl * 2) => {}
    }
    lease.release().await.unwrap();
}

#[tokio::test]
async fn a_connection_stays_for_the_next_call() {
    let store = crate::common::store().await;
    let application = unique("stays");
    let options = crate::common::options_of(&store).with_notifications(false);
    let store = options.connect(&url_of(&application).await).await.unwrap();
    let first = sessions(&application).await;
    assert_eq!(first.len(), 1);
    for number in 0..5 {
        granted(&store, &request(&format!("job-{number}"), "a")).await;
        assert_eq!(sessions(&application).await, first, "call {number}");
    }
    drop(store);
    eventually("its connections end with the store", async || sessions(&application).await.is_empty()).await;
}

/// Calls that wait for a table and are abandoned leave no more sessions than the limit of the store.
#[tokio::test]
async fn s24_abandoned_calls_are_counted() {
    const MOST: u32 = 3;
    let store = crate::common::store().await;
    let application = unique("counted");
    let options = crate::common::options_of(&store).with_notifications(false).with_max_connections(MOST);
    let bounded = options.connect(&url_of(&application).await).await.unwrap();
    let held = request("job", "a");
    let renewal = renewal(&claim(&held, granted(&bounded, &held).await), crate::common::TTL);
    let other = crate::common::lock(&store, "for update").await;
    let mut most = 0;
    for _ in 0..10 {
        let calls = futures::future::join_all((0..4).map(|_| renew(&bounded, &renewal)));
        tokio::select! {
            _ = calls => {}
            () = pass(Duration::from_millis(60)) => {}
        }
        most = most.max(sessions(&application).await.len());
    }
    assert_eq!(most, MOST as usize);
    other.rollback().await.unwrap();
    let answer = renew(&bounded, &renewal).await.unwrap();
    assert!(matches!(answer, Renewed::Extended { .. }), "{answer:?}");
}

/// The store overrides the settings of the role, the database and the URL on which a grant relies.
#[tokio::test]
async fn settings_of_the_session_are_overridden() {
    let store = crate::common::store().await;
    let url = format!(
        "{}?options=-c%20default_transaction_isolation%3Dserializable%20-c%20statement_timeout%3D1%20-c%20search_path%3Dpublic",
        crate::common::url().await
    );
    for prepared in [true, false] {
        let strange = crate::common::options_of(&store).with_prepared_statements(prepared).connect(&url).await.unwrap();
        let held = request(&unique("job"), "a");
        let renewal = renewal(&claim(&held, granted(&strange, &held).await), crate::common::TTL);
        // If it were serializable, it would fail on a row that was changed during its wait; with a lock time-out of a millisecond,
        // in any case.
        let lock = crate::common::lock(&store, &format!("where lease_name = '{}' for update", held.name)).await;
        let change = async {
            pass(Duration::from_millis(100)).await;
            let mut lock = lock;
            let text = format!("update {} set metadata = '{{}}'", crate::common::table_of(&store));
            sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut *lock).await.unwrap();
            lock.commit().await.unwrap();
        };
        let (answer, ()) = tokio::join!(renew(&strange, &renewal), change);
        assert!(matches!(answer, Ok(Renewed::Extended { .. })), "{prepared}: {answer:?}");
    }
}

/// A contender that is cut off in the middle of a call leaves no lock behind: the server has the whole transaction already.
#[tokio::test]
async fn s24_an_unprepared_call_that_is_cut_off_keeps_nothing_locked() {
    let server = Postgres::shared().await;
    let store = crate::common::store().await;
    let proxy = Proxy::start(server.address().unwrap()).await.unwrap();
    let options = crate::common::options_of(&store).with_prepared_statements(false).with_notifications(false);
    let cut_off = options.connect(&server.url_through(&proxy)).await.unwrap();
    granted(&cut_off, &request("warm", "a")).await;
    let wanted = request("job", "a");
    proxy.drop_answers();
    tokio::select! {
        answer = acquire(&cut_off, &wanted) => panic!("unexpected answer: {answer:?}"),
        () = pass(Duration::from_millis(200)) => {}
    }
    let record = store.inspect(&wanted.name).await.unwrap();
    let record = record.expect("the answer was lost, the grant was not");
    // No call waits for the contender that is cut off.
    store.break_lease(&wanted.name, record.token, lease_core::Break::Now).await.unwrap();
    granted(&store, &request("job", "b")).await;
}

/// How a pooler treats the settings in the startup message of a session.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Pooler {
    /// As `PgBouncer` does.
    Refuses,
    /// As `PgBouncer` does with `ignore_startup_parameters = options`.
    Ignores,
}

impl Pooler {
    /// Starts a pooler before the tests' server; it forwards its sessions one to one.
    async fn start(self) -> String {
        let server = Postgres::shared().await.address().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(async move { self.serve(client, server).await });
            }
        });
        format!("postgres://postgres@{address}/postgres")
    }

    async fn serve(self, mut client: TcpStream, server: std::net::SocketAddr) -> std::io::Result<()> {
        let mut startup = message(&mut client).await?;
        // The request for TLS.
        if startup.len() == 8 {
            client.write_all(b"N").await?;
            startup = message(&mut client).await?;
        }
        let parameters: Vec<&[u8]> = startup[8..].split(|byte| *byte == 0).collect();
        let options = parameters.iter().step_by(2).position(|parameter| *parameter == b"options");
        if self == Self::Refuses && options.is_some() {
            let fields = b"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: options\0\0";
            client.write_all(b"E").await?;
            client.write_all(&u32::try_from(fields.len() + 4).unwrap().to_be_bytes()).await?;
            return client.write_all(fields).await;
        }
        let mut kept = Vec::new();
        for (at, pair) in parameters.chunks(2).enumerate().filter(|(_, pair)| !pair[0].is_empty()) {
            if Some(at) != options {
                kept.extend([pair[0], b"\0", pair[1], b"\0"].concat());
            }
        }
        kept.push(0);
        let mut server = TcpStream::connect(server).await?;
        server.write_all(&u32::try_from(kept.len() + 8).unwrap().to_be_bytes()).await?;
        server.write_all(&startup[4..8]).await?;
        server.write_all(&kept).await?;
        copy_bidirectional(&mut client, &mut server).await.map(|_| ())
    }
}

/// Reads a message without a type: its length, which includes itself, and the rest.
async fn message(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; 4];
    client.read_exact(&mut message).await?;
    let length = u32::from_be_bytes(message[..4].try_into().unwrap());
    message.resize(length as usize, 0);
    client.read_exact(&mut message[4..]).await?;
    Ok(message)
}

#[tokio::test]
async fn through_a_pooler_each_call_is_one_message_and_waiters_poll() {
    let direct = crate::common::store().await;
    for pooler in [Pooler::Refuses, Pooler::Ignores] {
        let url = pooler.start().await;
        let application = unique("pooled");
        let url = format!("{url}?application_name={application}");
        let store = crate::common::options_of(&direct).connect(&url).await.unwrap();
        assert!(!store.capabilities().push, "{pooler:?}");
        store.migrate().await.unwrap();
        let one = request(&unique("job"), "a");
        let many: Vec<_> = (0..3).map(|_| request(&unique("job"), "a")).collect();
        let grant = granted(&store, &one).await;
        assert!(store.acquire(&many).await.iter().all(|answer| matches!(answer, Ok(Acquired::Granted(_)))));
        let renewed = renew(&store, &renewal(&claim(&one, grant), crate::common::TTL)).await.unwrap();
        assert!(matches!(renewed, Renewed::Extended { .. }), "{renewed:?}");
        assert!(is_held(&store, &request(one.name.as_str(), "b")).await);

        // With a pool of the application, the pooler is detected by the first call.
        let pool = sqlx::PgPool::connect(&url).await.unwrap();
        let shared = crate::common::options_of(&direct).with_pool(&pool).unwrap();
        let mut wakeups = shared.subscribe(&name("job"));
        granted(&shared, &request(&unique("job"), "a")).await;
        assert!(!crate::common::is_hinted_within(&mut wakeups, Duration::from_millis(300)).await, "{pooler:?}");

        let text = "select string_agg(query, ' | ') from pg_stat_activity where application_name = $1";
        let last: String =
            sqlx::query_scalar(text).bind(&application).fetch_one(&crate::common::pool().await).await.unwrap();
        assert!(last.contains("begin isolation level") && !last.contains("LISTEN"), "{pooler:?}: {last}");

        // Hints are still sent.
        let mut wakeups = direct.subscribe(&one.name);
        assert!(crate::common::is_hinted_within(&mut wakeups, Duration::from_secs(5)).await);
        crate::common::release(&store, &claim(&one, grant)).await;
        assert!(crate::common::is_hinted_within(&mut wakeups, Duration::from_secs(5)).await, "{pooler:?}");
    }
}

/// Settings in the URL that the pooler does not carry cannot be fulfilled: no retry helps.
#[tokio::test]
async fn settings_of_the_url_that_a_pooler_refuses_are_invalid() {
    let url = format!("{}?options=-c%20work_mem%3D64MB", Pooler::Refuses.start().await);
    let error = lease_postgres::PostgresStore::connect(&url).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("options"), "{error}");
}

/// The outcome in an aborted transaction of a session that is not ours is unknown; the next call uses another session.
#[tokio::test]
async fn s24_a_session_that_is_in_a_transaction_is_not_used_again() {
    let store = crate::common::store().await;
    let held = request("job", "a");
    let renewal = renewal(&claim(&held, granted(&store, &held).await), crate::common::TTL);
    // A trigger of other software raises the error of a session in such a state.
    crate::common::sql(
        &store,
        "create function {table}_fail() returns trigger language plpgsql as $$ begin
             raise exception using errcode = '25P02', message = 'current transaction is aborted'; end $$;
         create trigger fail before update on {table} for each row when (new.lease_name = 'job') execute function {table}_fail()"
            .replace("{table}_fail", &format!("public.{}", unique("fail")))
            .as_str(),
    )
    .await;
    let application = unique("aborted");
    let options = crate::common::options_of(&store).with_notifications(false);
    let aborted = options.connect(&url_of(&application).await).await.unwrap();
    let before = sessions(&application).await;
    assert_eq!(renew(&aborted, &renewal).await.unwrap_err().kind(), ErrorKind::Indeterminate);
    granted(&aborted, &request("other", "a")).await;
    assert_ne!(sessions(&application).await, before);
}

/// The server panics in the middle of a call. Its error is about the log or a file, but it may have been writing the commit.
#[tokio::test]
async fn s15_a_call_whose_session_ends_with_an_error_has_an_unknown_outcome() {
    let server = Postgres::shared().await.address().unwrap();
    let store = crate::common::store().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://postgres@{}/postgres", listener.local_addr().unwrap());
    let panics = Arc::new(AtomicBool::new(false));
    let is_set = Arc::clone(&panics);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(server).await.unwrap();
            tokio::spawn(until_it_panics(client, server, Arc::clone(&is_set)));
        }
    });
    for (prepared, code) in [(true, "53100"), (false, "58030"), (true, "25P03"), (false, "XX000")] {
        let options = crate::common::options_of(&store).with_prepared_statements(prepared).with_notifications(false);
        let fragile = options.connect(&url).await.unwrap();
        let job = unique("job");
        CODE.lock().unwrap().replace_range(.., code);
        for (reads, kind) in [(true, ErrorKind::Unavailable), (false, ErrorKind::Indeterminate)] {
            granted(&fragile, &request(&unique("job"), "a")).await;
            panics.store(true, Ordering::SeqCst);
            let error = if reads {
                fragile.inspect(&name(&job)).await.unwrap_err()
            } else {
                acquire(&fragile, &request(&unique("job"), "a")).await.unwrap_err()
            };
            panics.store(false, Ordering::SeqCst);
            assert!(error.kind() == kind && error.to_string().contains(code), "{prepared} {reads}: {error}");
        }
        granted(&fragile, &request(&unique("job"), "a")).await;
    }
}

/// The error of the panic.
static CODE: Mutex<String> = Mutex::new(String::new());

async fn until_it_panics(mut client: TcpStream, mut server: TcpStream, panics: Arc<AtomicBool>) -> std::io::Result<()> {
    let (mut request, mut answered) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            count = client.read(&mut request) => {
                let count = count?;
                server.write_all(&request[..count]).await?;
                if count == 0 {
                    return Ok(());
                }
                if panics.load(Ordering::SeqCst) {
                    let code = CODE.lock().unwrap().clone();
                    let fields = format!("SPANIC\0VPANIC\0C{code}\0Mcould not write to file\0\0");
                    client.write_all(b"E").await?;
                    client.write_all(&u32::try_from(fields.len() + 4).unwrap().to_be_bytes()).await?;
                    return client.write_all(fields.as_bytes()).await;
                }
            }
            count = server.read(&mut answered) => {
                let count = count?;
                client.write_all(&answered[..count]).await?;
                if count == 0 {
                    return Ok(());
                }
            }
        }
    }
}

/// Outside a runtime no task can be spawned: the connection is closed, without a panic (S16).
#[test]
fn the_last_store_may_be_dropped_outside_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(async {
        let store = crate::common::store().await;
        granted(&store, &request("job", "a")).await;
        store
    });
    drop(store);
    drop(runtime);
}

/// A store may be created outside a runtime, from the options of the application's pool.
#[test]
fn a_store_may_be_created_outside_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (store, pool) = runtime.block_on(async { (crate::common::store().await, crate::common::pool().await) });
    let other = crate::common::options_of(&store).with_pool(&pool).unwrap();
    runtime.block_on(async { granted(&other, &request("job", "a")).await });
}

/// The next runtime opens its own connections.
#[test]
fn a_runtime_that_ended_leaves_the_store_usable() {
    let first = tokio::runtime::Runtime::new().unwrap();
    let store = first.block_on(async {
        let store = crate::common::store().await;
        granted(&store, &request("job-1", "a")).await;
        store
    });
    drop(first);
    let second = tokio::runtime::Runtime::new().unwrap();
    second.block_on(async {
        granted(&store, &request("job-2", "a")).await;
        drop(store);
    });
}

/// A connection answers only while the runtime on which it was opened is driven.
#[test]
fn l07_a_runtime_that_idles_holds_up_no_call_of_another_one() {
    let build = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (idle, busy) = (build(), build());
    let store = idle.block_on(crate::common::store());
    idle.block_on(granted(&store, &request("job-1", "a")));
    busy.block_on(async {
        granted(&store, &request("job-2", "a")).await;
        drop(store);
    });
}

#[test]
fn l10_a_client_with_a_runtime_of_its_own_keeps_its_leases_though_the_application_blocks() {
    integration_tests::a_blocked_application_keeps_its_leases(crate::common::store, Duration::from_secs(2));
}

/// Idle connections of one runtime are closed when another one needs their permits.
#[test]
fn s24_runtimes_together_have_no_more_connections_than_the_options_say() {
    let build = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let runtimes = [build(), build(), build()];
    let application = unique("runtimes");
    let store = runtimes[0].block_on(async {
        let options =
            crate::common::options_of(&crate::common::store().await).with_notifications(false).with_max_connections(1);
        options.connect(&url_of(&application).await).await.unwrap()
    });
    for round in 0..3 {
        for (at, runtime) in runtimes.iter().enumerate() {
            runtime.block_on(async {
                granted(&store, &request(&format!("job-{round}-{at}"), "a")).await;
                eventually("one is left", async || sessions(&application).await.len() == 1).await;
            });
        }
    }
}
