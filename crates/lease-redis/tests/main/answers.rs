//! The store rejects an answer that does not prove that it belongs to its request (S25).

use std::time::Duration;

use integration_tests::Redis;
use lease_core::{Acquired, Break, ErrorKind, FencingToken, LeaseStore, Released, Renewed};
use lease_redis::{RedisStore, RedisStoreOptions};

use crate::common::{
    AnswerInserter, TTL, acquire, claim, eventually, granted, name, options, plain_release, release, renew, renewal,
    request,
};

/// Answers of scripts to other calls, in the format of this version and of earlier ones.
const FOREIGN_ANSWERS: [&str; 5] = [
    "*2\r\n$16\r\n1234567890123456\r\n:1764000000000000\r\n",
    "*2\r\n$16\r\n1234567890123456\r\n*1\r\n$4\r\nfree\r\n",
    "*1\r\n:1764000000000000\r\n",
    ":1\r\n",
    "+OK\r\n",
];

/// Returns a server, a proxy that can insert answers, a store behind the proxy and one that is connected directly.
async fn start() -> (Redis, AnswerInserter, RedisStore, RedisStore) {
    let server = Redis::start_local(&[]).await.unwrap();
    let inserter = AnswerInserter::start(server.address().unwrap()).await;
    let options = options();
    let store = options.connect(&inserter.url()).await.unwrap();
    let direct = options.connect(server.url()).await.unwrap();
    // The server loads all scripts.
    let one = request("warm", "a");
    let grant = granted(&store, &one).await;
    renew(&store, &renewal(&claim(&one, grant), TTL)).await.unwrap();
    store.inspect(&one.name).await.unwrap();
    store.break_lease(&one.name, grant.token, Break::AfterExpiry).await.unwrap();
    release(&store, &claim(&one, grant)).await;
    (server, inserter, store, direct)
}

/// Acquires and releases a name, so that the next acquire of it is one call and does not write into the index.
async fn use_once(store: &RedisStore, name_text: &str) {
    let before = request(name_text, "before");
    let grant = granted(store, &before).await;
    release(store, &claim(&before, grant)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s25_an_answer_to_another_call_is_indeterminate_and_its_connection_ends() {
    let (_server, inserter, store, direct) = start().await;
    for at in 0..FOREIGN_ANSWERS.len() {
        use_once(&store, &format!("job-{at}")).await;
    }
    for (at, foreign) in FOREIGN_ANSWERS.into_iter().enumerate() {
        let one = request(&format!("job-{at}"), "a");
        let assert_unknown = async |operation: &str, outcome: Result<String, lease_core::Error>| {
            let error = outcome.expect_err(operation);
            assert_eq!(error.kind(), ErrorKind::Indeterminate, "{operation}: {error}");
            assert!(inserter.is_done());
        };
        let mut connections = inserter.connections_so_far();
        let mut insert = async || {
            // The previous connection has ended.
            eventually("the store connects again", async || inserter.connections_so_far() >= connections).await;
            eventually("the store serves", async || store.inspect(&name("free")).await.is_ok()).await;
            // By then the store has checked the server, for the previous connection and for this one.
            for _ in 0..2 {
                crate::common::pass(std::time::Duration::from_millis(20)).await;
                store.inspect(&name("free")).await.unwrap();
            }
            crate::common::pass(std::time::Duration::from_millis(20)).await;
            connections = inserter.connections_so_far() + 1;
            inserter.before_the_next_answer(foreign);
        };
        insert().await;
        assert_unknown("acquire", acquire(&store, &one).await.map(|answer| format!("{answer:?}"))).await;
        // A repetition of the attempt returns its own grant.
        insert().await;
        assert_unknown("inspect", store.inspect(&one.name).await.map(|answer| format!("{answer:?}"))).await;
        let record = direct.inspect(&one.name).await.unwrap().unwrap();
        let mut again = acquire(&store, &one).await;
        while again.is_err() {
            again = acquire(&store, &one).await;
        }
        let Ok(Acquired::Granted(grant)) = again else { panic!("unexpected answer: {again:?}") };
        assert_eq!(grant.token, record.token);
        let claim = claim(&one, grant);
        insert().await;
        assert_unknown("renew", renew(&store, &renewal(&claim, TTL)).await.map(|answer| format!("{answer:?}"))).await;
        insert().await;
        assert_unknown("list", store.list("", None, 10).await.map(|answer| format!("{answer:?}"))).await;
        insert().await;
        let written = store.fenced_write("data", "x", grant.token).await;
        assert_unknown("fenced_write", written.map(|()| "written".into())).await;
        insert().await;
        let broken = store.break_lease(&one.name, FencingToken::new(1).unwrap(), Break::Now).await;
        assert_unknown("break", broken.map(|answer| format!("{answer:?}"))).await;
        insert().await;
        let released = store.release(&[plain_release(&claim)]).await.pop().unwrap();
        assert_unknown("release", released.map(|answer| format!("{answer:?}"))).await;
        assert_eq!(direct.inspect(&one.name).await.unwrap(), None);
    }
}

/// A stray error shifts all answers as well. It may belong to a call that the server refused; this call was executed.
#[tokio::test(flavor = "multi_thread")]
async fn s25_an_inserted_error_is_not_taken_for_the_answer() {
    let (_server, inserter, store, direct) = start().await;
    let errors = [
        "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        "-NOPERM this user has no permissions to run the 'evalsha' command\r\n",
        "-NOSCRIPT No matching script.\r\n",
        "-ERR syntax error\r\n",
    ];
    for (at, error_text) in errors.into_iter().enumerate() {
        let one = request(&format!("job-{at}"), "a");
        inserter.before_the_next_answer(error_text);
        // The outcome is unknown, or the store has repeated the call and received its own grant.
        let first = acquire(&store, &one).await;
        let record = direct.inspect(&one.name).await.unwrap().unwrap();
        match first {
            Ok(Acquired::Granted(grant)) => assert_eq!(grant.token, record.token),
            Err(error) if error.kind() == ErrorKind::Indeterminate => {}
            other => panic!("unexpected answer after {error_text}: {other:?}"),
        }
        eventually("the store serves", async || store.inspect(&name("free")).await.is_ok()).await;
        let grant = granted(&store, &one).await;
        assert_eq!(grant.token, record.token);
        let claim = claim(&one, grant);
        inserter.before_the_next_answer(error_text);
        match renew(&store, &renewal(&claim, TTL)).await {
            Ok(Renewed::Extended { .. }) => {}
            Err(error) if error.kind() == ErrorKind::Indeterminate => {}
            other => panic!("unexpected answer after {error_text}: {other:?}"),
        }
        eventually("the store serves", async || store.inspect(&name("free")).await.is_ok()).await;
        inserter.before_the_next_answer(error_text);
        let released = store.release(&[plain_release(&claim)]).await.pop().unwrap();
        assert_eq!(released.unwrap_err().kind(), ErrorKind::Indeterminate, "{error_text}");
        assert_eq!(direct.inspect(&one.name).await.unwrap(), None, "the release was executed");
        eventually("the store serves", async || store.inspect(&name("free")).await.is_ok()).await;
    }
}

/// Errors that replace an answer.
const REPLACEMENTS: [&str; 3] =
    ["-ERR upstream failure\r\n", "-LOADING Redis is loading\r\n", "-NOSCRIPT No matching script.\r\n"];

/// As from a proxy whose timeout has passed: the server has executed the call.
#[tokio::test(flavor = "multi_thread")]
async fn s25_an_error_in_place_of_the_answer_is_not_taken_for_the_outcome() {
    let (_server, inserter, store, direct) = start().await;
    for (at, error_text) in REPLACEMENTS.into_iter().enumerate() {
        let one = request(&format!("job-{at}"), "a");
        for name in ["job", "other", "third"] {
            use_once(&store, &format!("{name}-{at}")).await;
        }
        inserter.instead_of_the_next_answer(error_text);
        let grant = granted(&store, &one).await;
        assert_eq!(direct.inspect(&one.name).await.unwrap().unwrap().token, grant.token);
        let claim = claim(&one, grant);
        inserter.instead_of_the_next_answer(error_text);
        assert!(matches!(renew(&store, &renewal(&claim, TTL)).await.unwrap(), Renewed::Extended { .. }));
        // `NotHeld` would be wrong: the release was executed.
        inserter.instead_of_the_next_answer(error_text);
        let error = store.release(&[plain_release(&claim)]).await.pop().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
        assert_eq!(direct.inspect(&one.name).await.unwrap(), None);
        let two = request(&format!("other-{at}"), "a");
        let grant = granted(&store, &two).await;
        inserter.instead_of_the_next_answer(error_text);
        let error = store.break_lease(&two.name, grant.token, Break::Now).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
        // The store accepts an error that comes twice.
        if error_text.contains("NOSCRIPT") {
            continue;
        }
        inserter.instead_of_the_next_answer(error_text);
        inserter.instead_of_the_next_answer(error_text);
        let error = acquire(&store, &request(&format!("third-{at}"), "a")).await.unwrap_err();
        assert!(error.to_string().contains(error_text[1..].trim_end()), "{error}");
        assert!(inserter.is_done());
    }
}

/// The driver gives these errors to all calls in flight, whichever was refused. The calls here were executed.
#[tokio::test(flavor = "multi_thread")]
async fn s25_an_error_that_is_given_to_all_calls_leaves_the_outcome_unknown() {
    for answer in ["-CLUSTERDOWN The cluster is down\r\n", "-NOAUTH Authentication required.\r\n"] {
        let (_server, inserter, store, direct) = start().await;
        let one = request("job", "a");
        use_once(&store, one.name.as_str()).await;
        inserter.instead_of_the_next_answer(answer);
        // The driver leaves the connection, and the repetition may fail because there is none yet, before it gets this one.
        inserter.instead_of_the_next_answer(answer);
        let error = acquire(&store, &one).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
        assert!(direct.inspect(&one.name).await.unwrap().is_some());
    }
}

/// A common case: the server does not have the script any more, and there is nothing to release.
#[tokio::test]
async fn s11_a_release_after_a_script_flush_has_a_definite_outcome() {
    let server = Redis::start_local(&[]).await.unwrap();
    let store = RedisStoreOptions::new().connect(server.url()).await.unwrap();
    let one = request("job", "a");
    let grant = lease_core::Grant::new(FencingToken::new(1).unwrap(), TTL);
    assert_eq!(release(&store, &claim(&one, grant)).await, Released::NotHeld);
    let broken = store.break_lease(&name("job"), FencingToken::new(1).unwrap(), Break::Now).await.unwrap();
    assert_eq!(broken, Released::NotHeld);
    let held = granted(&store, &one).await;
    server.command(&["SCRIPT", "FLUSH"]).await.unwrap();
    assert_eq!(release(&store, &claim(&one, held)).await, Released::Freed);
}

/// `WAIT` is answered with a plain number: one that belongs to another call must not count as the number of replicas.
#[tokio::test(flavor = "multi_thread")]
async fn s25_a_number_of_another_call_confirms_no_grant() {
    let server = Redis::start_local(&[]).await.unwrap();
    let inserter = AnswerInserter::start(server.address().unwrap()).await;
    let options = options();
    let direct = options.connect(server.url()).await.unwrap();
    let store = options.with_wait_replicas(1, Duration::from_millis(200)).connect(&inserter.url()).await.unwrap();
    // The store observes that the index has the name, so that the next acquire is one call.
    let held = request("job", "a");
    let grant = granted(&direct, &held).await;
    assert!(matches!(acquire(&store, &request("job", "b")).await, Ok(Acquired::Held { .. })));
    release(&direct, &claim(&held, grant)).await;
    // The server has no replica, so its answer to `WAIT` comes later than that of the script.
    inserter.after_the_next_answer(":1\r\n");
    let error = acquire(&store, &request("job", "b")).await.unwrap_err();
    assert!(inserter.is_done() && error.to_string().contains("only 0 replicas"), "{error}");
}
