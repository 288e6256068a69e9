//! Errors for faults of a server, a URL or a user: they are precise, and contain no secret.

use std::time::Duration;

use integration_tests::{Direction, Postgres, Proxy, assert_no_secret};
use lease_core::{Clock, Error, ErrorKind, LeaseStore, SystemClock};
use lease_postgres::{PostgresStore, PostgresStoreOptions};
use sqlx::AssertSqlSafe;

use crate::common::{acquire, claim, granted, name, pass, renewal, request, unique};

const SECRET: &str = "s3cr3t";

async fn refused(url: &str) -> Error {
    let options = PostgresStoreOptions::new().with_connect_timeout(Duration::from_millis(500));
    let error = options.connect(url).await.unwrap_err();
    assert_no_secret(&error, SECRET);
    assert_eq!((error.store(), error.operation()), (Some("postgres"), "connect"));
    error
}

#[tokio::test]
async fn a_malformed_url_is_invalid_and_not_repeated() {
    for url in [
        "",
        "nonsense",
        "mysql://app:s3cr3t@db/app",
        "postgres://app:s3cr3t@db:port/app",
        "postgres://app:x/s3cr3t@db/app",
        "postgres://app:1?s3cr3t@db/app",
        "postgres://app:s3cr3t@[::1/app",
        "postgres://app:s3cr3t@db/app?sslmode=s3cr3t",
        "postgres://app:s3cr3t@db/app?statement-cache-capacity=s3cr3t",
        "postgres://app:s3cr3t%FF@db/app",
    ] {
        let error = refused(url).await;
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("percent-encoded"), "{url}: {error}");
    }
}

#[tokio::test]
async fn an_unreachable_server_is_unavailable_and_named() {
    // A port that was free just now.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = refused(&format!("postgres://app:{SECRET}@127.0.0.1:{port}/app")).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{port}")) && error.to_string().contains("refused"),
        "{error}"
    );
    let error = refused(&format!("postgres://app:{SECRET}@no-such-host.invalid/app")).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

/// Without IPv6 it is unreachable; it is never taken for a host name.
#[tokio::test]
async fn an_address_of_ipv6_is_an_address() {
    let error = refused(&format!("postgres://app:{SECRET}@[::1]:1/app")).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let message = error.to_string();
    assert!(
        message.contains("[::1]:1") && !message.contains("Name or service") && !message.contains("lookup"),
        "{message}"
    );
}

/// The driver would ignore the parameter, and log it with its value.
#[tokio::test]
async fn an_unsupported_parameter_of_the_url_is_refused_by_name() {
    for parameter in ["pasword", "require_auth", "sslrootcert"] {
        let error = refused(&format!("postgres://app@db/app?{parameter}={SECRET}")).await;
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(parameter), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_unavailable_in_time() {
    // Accepts connections, and does not answer.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let start = SystemClock.now();
    let error = refused(&format!("postgres://app:{SECRET}@{}/app", silent.local_addr().unwrap())).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(SystemClock.now().saturating_since(start) < Duration::from_secs(3));
}

#[tokio::test]
async fn a_database_that_is_missing_is_invalid() {
    let error = refused(&Postgres::shared().await.url_for("no_such_database")).await;
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("no_such_database"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_reported_when_the_url_requires_tls() {
    let url = format!("{}?sslmode=require", Postgres::shared().await.url());
    let error = refused(&url).await;
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("sslmode"), "{error}");
}

/// The servers of the harness trust every user; this one requires passwords.
#[tokio::test]
async fn a_wrong_password_is_denied_not_retried_and_not_printed() {
    let postgres =
        Postgres::start_local(&[("log_connections", "on"), ("password_encryption", "scram-sha-256")]).await.unwrap();
    let admin = sqlx::PgPool::connect(postgres.url()).await.unwrap();
    for statement in [
        "create role app login password 'right'",
        // Before version 15, everybody could create there.
        "revoke create on schema public from public",
        "create temp table hba (line text)",
        "create table hba_file (line text)",
    ] {
        sqlx::raw_sql(statement).execute(&admin).await.unwrap();
    }
    // The first line that matches applies.
    let hba: String = sqlx::query_scalar("show hba_file").fetch_one(&admin).await.unwrap();
    let write = format!(
        "copy (select unnest(array['host all app 127.0.0.1/32 scram-sha-256', 'host all all 127.0.0.1/32 trust'])) to '{hba}'"
    );
    sqlx::raw_sql(AssertSqlSafe(write)).execute(&admin).await.unwrap();
    sqlx::raw_sql("select pg_reload_conf()").execute(&admin).await.unwrap();

    let url = |password: &str| postgres.url().replace("postgres://postgres@", &format!("postgres://app:{password}@"));
    crate::common::eventually("the other password counts", async || {
        PostgresStore::connect(&url("wrong")).await.is_err()
    })
    .await;
    let start = SystemClock.now();
    let error = PostgresStore::connect(&url(SECRET)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(SystemClock.now().saturating_since(start) < Duration::from_secs(2), "retried");
    assert_no_secret(&error, SECRET);
    assert!(!error.is_transient());
    let store = PostgresStore::connect(&url("right")).await.unwrap();

    // A user that may only log in.
    let error = acquire(&store, &request("job", "a")).await.unwrap_err();
    assert!(error.to_string().contains("migrate()"), "{error}");
    let error = store.migrate().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    PostgresStore::with_pool(&admin).unwrap().migrate().await.unwrap();
    let error = acquire(&store, &request("job", "a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");

    // The few privileges that are documented are enough.
    sqlx::raw_sql("grant select, insert, update, delete on app_runtime_leases to app").execute(&admin).await.unwrap();
    let grant = granted(&store, &request("job", "a")).await;
    store.migrate().await.unwrap();
    store.break_lease(&name("job"), grant.token, lease_core::Break::Now).await.unwrap();
    store.purge(Duration::from_secs(3600)).await.unwrap();
    let text = format!("{store:?}");
    assert!(!text.contains("right"), "{text}");
}

/// The pool belongs to the application; only its connection options are used.
#[tokio::test]
async fn closing_the_application_s_pool_does_not_affect_the_store() {
    let store = crate::common::store().await;
    let pool = crate::common::pool().await;
    let other = crate::common::options_of(&store).with_pool(&pool).unwrap();
    pool.close().await;
    granted(&other, &request("job", "a")).await;
    let error = PostgresStoreOptions::new().with_max_connections(0).with_pool(&pool).unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("max_connections"), "{error}");
}

#[tokio::test]
async fn no_connection_in_time_is_unavailable() {
    let store = crate::common::store().await;
    let options =
        crate::common::options_of(&store).with_max_connections(1).with_connect_timeout(Duration::from_millis(250));
    let narrow = options.with_pool(&crate::common::pool().await).unwrap();
    let held = request("job", "a");
    let renewal = renewal(&claim(&held, granted(&narrow, &held).await), crate::common::TTL);
    let other = crate::common::lock(&store, "for update").await;
    let second = async {
        pass(Duration::from_millis(100)).await;
        let error = acquire(&narrow, &request("second", "a")).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("no connection"), "{error}");
        other.rollback().await.unwrap();
    };
    let (renewed, ()) = tokio::join!(crate::common::renew(&narrow, &renewal), second);
    assert!(matches!(renewed, Ok(lease_core::Renewed::Extended { .. })), "{renewed:?}");
    granted(&narrow, &request("second", "a")).await;
}

/// The store overrides the settings of the role and the URL.
#[tokio::test]
async fn a_session_that_is_read_only_by_default_is_overridden() {
    let options = PostgresStoreOptions::new().with_table(unique("leases"));
    let url = format!("{}?options=-c%20default_transaction_read_only%3Don", crate::common::url().await);
    for prepared in [true, false] {
        let store = options.clone().with_prepared_statements(prepared).connect(&url).await.unwrap();
        store.migrate().await.unwrap();
        granted(&store, &request(&unique("job"), "a")).await;
    }
}

/// The answer is lost, so the outcome is unknown. A retry with the same nonce finds the grant.
#[tokio::test]
async fn s13_a_lost_answer_is_indeterminate_and_its_retry_finds_the_grant() {
    let server = Postgres::shared().await;
    let proxy = Proxy::start(server.address().unwrap()).await.unwrap();
    let options = PostgresStoreOptions::new().with_table(unique("leases"));
    let store = options.connect(&server.url_through(&proxy)).await.unwrap();
    let direct = options.with_pool(&crate::common::pool().await).unwrap();
    direct.migrate().await.unwrap();
    granted(&store, &request("warm", "a")).await;

    let request = request("job", "a");
    proxy.drop_answers();
    let cut = async {
        crate::common::eventually("the grant is there", async || {
            direct.inspect(&request.name).await.unwrap().is_some()
        })
        .await;
        proxy.reset_connections();
    };
    let (answer, ()) = tokio::join!(acquire(&store, &request), cut);
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Indeterminate);
    proxy.heal();
    let record = direct.inspect(&request.name).await.unwrap().unwrap();
    let grant = granted(&store, &request).await;
    assert_eq!(grant.token, record.token);

    // A failed read has changed nothing.
    proxy.drop_answers();
    let cut = async {
        pass(Duration::from_millis(50)).await;
        proxy.reset_connections();
    };
    let (answer, ()) = tokio::join!(store.inspect(&request.name), cut);
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unavailable);
    proxy.refuse_connections();
    proxy.reset_connections();
    pass(Duration::from_millis(20)).await;
    for error in [
        acquire(&store, &crate::common::request("other", "a")).await.unwrap_err(),
        store.renew(&[renewal(&claim(&request, grant), crate::common::TTL)]).await.pop().unwrap().unwrap_err(),
    ] {
        assert!(error.is_transient(), "{error}");
        assert_no_secret(&error, SECRET);
    }
}

#[tokio::test]
async fn s24_a_black_holed_call_harms_no_other() {
    let server = Postgres::shared().await;
    let proxy = Proxy::start(server.address().unwrap()).await.unwrap();
    let options =
        PostgresStoreOptions::new().with_table(unique("leases")).with_max_connections(1).with_notifications(false);
    let store = options.connect(&server.url_through(&proxy)).await.unwrap();
    store.migrate().await.unwrap();
    granted(&store, &request("warm", "a")).await;
    proxy.black_hole(Direction::Both);
    let hanging = request("job", "a");
    tokio::select! {
        answer = acquire(&store, &hanging) => panic!("unexpected answer: {answer:?}"),
        () = pass(Duration::from_millis(100)) => {}
    }
    proxy.heal();
    let start = SystemClock.now();
    granted(&store, &request("other", "a")).await;
    assert!(
        SystemClock.now().saturating_since(start) < Duration::from_secs(2),
        "the pool's only place was still taken"
    );
    granted(&store, &hanging).await;
}

#[tokio::test]
async fn a_restarted_server_is_found_again() {
    let postgres = Postgres::start_local(&[]).await.unwrap();
    let store = PostgresStore::connect(postgres.url()).await.unwrap();
    store.migrate().await.unwrap();
    let before = request("job", "a");
    let grant = granted(&store, &before).await;
    postgres.kill().await.unwrap();
    let error = acquire(&store, &request("other", "a")).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    postgres.start_again().await.unwrap();
    crate::common::eventually("it serves again", async || acquire(&store, &request("other", "a")).await.is_ok()).await;
    let answer = crate::common::renew(&store, &renewal(&claim(&before, grant), crate::common::TTL)).await.unwrap();
    assert!(matches!(answer, lease_core::Renewed::Extended { .. }), "{answer:?}");
}

/// Dropping it needs no runtime, and does not panic.
#[test]
fn s16_a_call_can_be_dropped_outside_a_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let store = runtime.block_on(crate::common::store());
    let mut lock = runtime.block_on(async { crate::common::pool().await.begin().await }).unwrap();
    let held = request("job", "a");
    let renewal = renewal(&claim(&held, runtime.block_on(granted(&store, &held))), crate::common::TTL);
    let text = format!("select from {} for update", crate::common::table_of(&store));
    runtime.block_on(sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut *lock)).unwrap();
    let mut call = Box::pin(crate::common::renew(&store, &renewal));
    runtime.block_on(async {
        tokio::select! {
            answer = &mut call => panic!("unexpected answer: {answer:?}"),
            () = pass(Duration::from_millis(20)) => {}
        }
    });
    drop(call);
    runtime.block_on(async { lock.rollback().await }).unwrap();
}
