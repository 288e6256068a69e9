//! A server that does not answer, and one whose table is locked: every call ends, and the number of sessions is bounded.

use std::time::Duration;

use futures::future::join_all;
use integration_tests::{Postgres, fails_within};
use lease_core::{
    Break, Clock, Error, ErrorKind, LeaseClient, LeaseOptions, LeaseStore, RenewRequest, Renewal, Result, SystemClock,
};
use lease_postgres::PostgresStoreOptions;

use crate::common::{
    claim, eventually, granted, name, pass, plain_release, renewal, request, sessions, unique, url_of,
};

/// How long a call waits beyond the time-out of its statement, with some slack for a busy machine.
const ANSWER: Duration = Duration::from_secs(5 + 3);

/// A frozen server keeps its connections open and does not answer. Every call of the store itself ends all the same.
#[tokio::test]
async fn s24_every_call_of_the_store_ends() {
    let server = Postgres::start_local(&[]).await.unwrap();
    let options = PostgresStoreOptions::new().with_max_connections(16).with_connect_timeout(Duration::from_secs(2));
    let store = options.connect(server.url()).await.unwrap();
    store.migrate().await.unwrap();
    let requests: Vec<_> = (0..3).map(|at| request(&format!("job-{at}"), "a")).collect();
    let held = &requests[0];
    let grant = granted(&store, held).await;
    let claim = claim(held, grant);
    // A session for each call: a call that cannot connect would prove nothing about those that can.
    let warm = join_all((0..12).map(|at| {
        let name = name(&format!("warm-{at}"));
        let store = &store;
        async move { store.inspect(&name).await }
    }));
    assert!(warm.await.iter().all(Result::is_ok));
    server.freeze().await.unwrap();

    let (one, many) = (std::slice::from_ref(held), requests.as_slice());
    let renewals: Vec<RenewRequest> = (0..3).map(|_| renewal(&claim, crate::common::TTL)).collect();
    let releases: Vec<_> = (0..3).map(|_| plain_release(&claim)).collect();
    let usual = Duration::from_secs(1) + ANSWER;
    tokio::join!(
        ends("acquire", usual, async { first(store.acquire(one).await) }),
        ends("acquire", usual, async { first(store.acquire(many).await) }),
        ends("renew", usual, async { first(store.renew(&renewals[..1]).await) }),
        ends("renew", usual, async { first(store.renew(&renewals).await) }),
        ends("release", usual, async { first(store.release(&releases[..1]).await) }),
        ends("release", usual, async { first(store.release(&releases).await) }),
        ends("inspect", usual, async { store.inspect(&held.name).await.err() }),
        ends("break", usual, async { store.break_lease(&held.name, grant.token, Break::Now).await.err() }),
        ends("migrate", usual, async { store.migrate().await.err() }),
        ends("list", Duration::from_secs(5) + ANSWER, async { store.list("", None, 10).await.err() }),
        ends("purge", Duration::from_secs(30) + ANSWER, async { store.purge(Duration::from_secs(7200)).await.err() }),
    );
    server.thaw().await.unwrap();
    eventually("it serves again", async || store.inspect(&held.name).await.is_ok()).await;
}

/// Returns the error of the first answer.
fn first<T>(answers: Vec<Result<T>>) -> Option<Error> {
    answers.into_iter().next().unwrap().err()
}

async fn ends(what: &str, limit: Duration, call: impl Future<Output = Option<Error>>) {
    let error = fails_within(what, limit, call).await;
    let message = error.to_string();
    // The second one on a machine so slow that idle connections were pinged first.
    assert!(message.contains("no answer within") || message.contains("no connection in time"), "{what}: {error}");
}

/// The whole table is locked, as by `VACUUM FULL`, while many leases with a short ttl are renewed and others are acquired. Calls
/// are abandoned all the time; they leave no more sessions than the limit of the store, and none that waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s24_a_locked_table_costs_no_more_sessions_than_the_options_say() {
    const NAMES: usize = 50;
    for most in [3_u32, 8] {
        let store = crate::common::store().await;
        let application = unique("locked");
        let options = crate::common::options_of(&store).with_max_connections(most);
        let client = LeaseClient::new(options.connect(&url_of(&application).await).await.unwrap());
        let short = LeaseOptions::new(Duration::from_secs(2));
        // On a busy machine one attempt may be too short.
        let held = async |at: usize| loop {
            if let Ok(tried) = client.try_acquire(format!("held-{at}"), &short).await {
                return tried;
            }
        };
        let leases = join_all((0..NAMES).map(held)).await;
        let trying: Vec<_> = (0..NAMES)
            .map(|at| {
                let (client, short) = (client.clone(), short.clone().with_renewal(Renewal::Manual));
                tokio::spawn(async move {
                    loop {
                        let _ = client.try_acquire(format!("wanted-{at}"), &short).await;
                        pass(Duration::from_millis(20)).await;
                    }
                })
            })
            .collect();
        // Beyond the limit of the options there may be one session for LISTEN and one for NOTIFY.
        let limit = most as usize + 2;
        let mut other = crate::common::pool().await.begin().await.unwrap();
        let text = format!("lock table {} in access exclusive mode", crate::common::table_of(&store));
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut *other).await.unwrap();
        let clock = SystemClock;
        let began = clock.now();
        let mut seen = 0;
        while clock.now().saturating_since(began) < Duration::from_secs(6) {
            seen = seen.max(sessions(&application).await.len());
            pass(Duration::from_millis(50)).await;
        }
        trying.iter().for_each(tokio::task::JoinHandle::abort);
        drop(leases);
        assert!(seen <= limit, "{seen} sessions where {most} and two more are allowed");
        // A request is given up within a third of the ttl, and its statement ends within a second.
        pass(Duration::from_millis(700)).await;
        let waiting = "select count(*) from pg_stat_activity where application_name = $1 and wait_event_type = 'Lock'
            and clock_timestamp() - query_start > interval '1.2 seconds'";
        let waiting: i64 =
            sqlx::query_scalar(waiting).bind(&application).fetch_one(&crate::common::pool().await).await.unwrap();
        assert_eq!(waiting, 0, "a statement waits for a lock for longer than its time-out");
        other.rollback().await.unwrap();
        eventually("leases are granted again", async || {
            client.try_acquire("afterwards", &short).await.is_ok_and(|tried| tried.is_acquired())
        })
        .await;
    }
}

/// A server that has no room for another session: held leases are renewed.
#[tokio::test]
async fn a_held_lease_is_renewed_while_the_server_refuses_new_connections() {
    let store = crate::common::store().await;
    let role = unique("few");
    let rights = format!("create role {role} login connection limit 2; grant all on {{table}} to {role}");
    crate::common::sql(&store, &rights).await;
    let url = crate::common::url().await.replace("postgres://postgres@", &format!("postgres://{role}@"));
    let options = crate::common::options_of(&store).with_notifications(false);
    let client = LeaseClient::new(options.connect(&url).await.unwrap());
    let ttl = Duration::from_secs(2);
    let lease = client.acquire("job", ttl).await.unwrap();
    let _last = options.connect(&url).await.unwrap();
    let error = options.connect(&url).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("53300"), "{error}");
    pass(ttl * 2).await;
    assert!(lease.is_held());
    lease.release().await.unwrap();
}
