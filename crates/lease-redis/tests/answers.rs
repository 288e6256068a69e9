//! No answer is believed that does not prove that it belongs to its request (S25).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{
    Intruder, TTL, acquire, claim, eventually, granted, name, options, plain_release, release, renew, renewal, request,
};
use integration_tests::Redis;
use lease_core::{Acquired, Break, ErrorKind, FencingToken, LeaseStore, Released, Renewed};
use lease_redis::{RedisStore, RedisStoreOptions};

/// Answers of scripts to other calls: as they are, and as those of earlier versions were.
const STRANGERS: [&str; 5] = [
    "*2\r\n$16\r\n1234567890123456\r\n:1764000000000000\r\n",
    "*2\r\n$16\r\n1234567890123456\r\n*1\r\n$4\r\nfree\r\n",
    "*1\r\n:1764000000000000\r\n",
    ":1\r\n",
    "+OK\r\n",
];

async fn through_intruder() -> (Redis, Intruder, RedisStore, RedisStore) {
    let server = Redis::start_local(&[]).await.unwrap();
    let intruder = Intruder::start(server.address().unwrap()).await;
    let options = options();
    let store = options.connect(&intruder.url()).await.unwrap();
    let direct = options.connect(server.url()).await.unwrap();
    // The server knows all scripts.
    let one = request("warm", "a");
    let grant = granted(&store, &one).await;
    renew(&store, &renewal(&claim(&one, grant), TTL)).await.unwrap();
    store.inspect(&one.name).await.unwrap();
    store.break_lease(&one.name, grant.token, Break::AfterExpiry).await.unwrap();
    release(&store, &claim(&one, grant)).await;
    (server, intruder, store, direct)
}

/// The store has tried for the name before: the next try is one call, and nothing is written into the index.
async fn tried(store: &RedisStore, name_text: &str) {
    let before = request(name_text, "before");
    let grant = granted(store, &before).await;
    release(store, &claim(&before, grant)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s25_an_answer_to_another_call_is_indeterminate_and_its_connection_ends() {
    let (_server, intruder, store, direct) = through_intruder().await;
    for at in 0..STRANGERS.len() {
        tried(&store, &format!("job-{at}")).await;
    }
    for (at, stranger) in STRANGERS.into_iter().enumerate() {
        let one = request(&format!("job-{at}"), "a");
        let confused = async |what: &str, outcome: Result<String, lease_core::Error>| {
            let error = outcome.expect_err(what);
            assert_eq!(error.kind(), ErrorKind::Indeterminate, "{what}: {error}");
            assert!(intruder.is_done());
        };
        let mut connections = intruder.connections_so_far();
        let mut confuse = async || {
            // The last one has ended.
            eventually("there is another connection", async || intruder.connections_so_far() >= connections).await;
            eventually("it serves", async || store.inspect(&name("free")).await.is_ok()).await;
            // By then the store has looked at the server, for the connection before and for this one.
            for _ in 0..2 {
                common::pass(std::time::Duration::from_millis(20)).await;
                store.inspect(&name("free")).await.unwrap();
            }
            common::pass(std::time::Duration::from_millis(20)).await;
            connections = intruder.connections_so_far() + 1;
            intruder.before_the_next_answer(stranger);
        };
        confuse().await;
        confused("acquire", acquire(&store, &one).await.map(|answer| format!("{answer:?}"))).await;
        // The same attempt meets its own grant.
        confuse().await;
        confused("inspect", store.inspect(&one.name).await.map(|answer| format!("{answer:?}"))).await;
        let known = direct.inspect(&one.name).await.unwrap().unwrap();
        let mut again = acquire(&store, &one).await;
        while again.is_err() {
            again = acquire(&store, &one).await;
        }
        let Ok(Acquired::Granted(grant)) = again else { panic!("{again:?}") };
        assert_eq!(grant.token, known.token);
        let claim = claim(&one, grant);
        confuse().await;
        confused("renew", renew(&store, &renewal(&claim, TTL)).await.map(|answer| format!("{answer:?}"))).await;
        confuse().await;
        confused("list", store.list("", None, 10).await.map(|answer| format!("{answer:?}"))).await;
        confuse().await;
        let written = store.fenced_write("data", "x", grant.token).await;
        confused("fenced_write", written.map(|()| "written".into())).await;
        confuse().await;
        let broken = store.break_lease(&one.name, FencingToken::new(1).unwrap(), Break::Now).await;
        confused("break", broken.map(|answer| format!("{answer:?}"))).await;
        confuse().await;
        let released = store.release(&[plain_release(&claim)]).await.pop().unwrap();
        confused("release", released.map(|answer| format!("{answer:?}"))).await;
        assert_eq!(direct.inspect(&one.name).await.unwrap(), None);
    }
}

/// A stray error shifts all answers as well, and may be that of a call which was refused: this one was not.
#[tokio::test(flavor = "multi_thread")]
async fn s25_an_error_that_is_not_the_calls_own_is_not_believed() {
    let (_server, intruder, store, direct) = through_intruder().await;
    let errors = [
        "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        "-NOPERM this user has no permissions to run the 'evalsha' command\r\n",
        "-NOSCRIPT No matching script.\r\n",
        "-ERR syntax error\r\n",
    ];
    for (at, error_text) in errors.into_iter().enumerate() {
        let one = request(&format!("job-{at}"), "a");
        intruder.before_the_next_answer(error_text);
        // Unknown; or it was asked again, and has met its own grant.
        let first = acquire(&store, &one).await;
        let known = direct.inspect(&one.name).await.unwrap().unwrap();
        match first {
            Ok(Acquired::Granted(grant)) => assert_eq!(grant.token, known.token),
            Err(error) if error.kind() == ErrorKind::Indeterminate => {}
            other => panic!("{error_text}: {other:?}"),
        }
        eventually("it serves", async || store.inspect(&name("free")).await.is_ok()).await;
        let grant = granted(&store, &one).await;
        assert_eq!(grant.token, known.token);
        let claim = claim(&one, grant);
        intruder.before_the_next_answer(error_text);
        match renew(&store, &renewal(&claim, TTL)).await {
            Ok(Renewed::Extended { .. }) => {}
            Err(error) if error.kind() == ErrorKind::Indeterminate => {}
            other => panic!("{error_text}: {other:?}"),
        }
        eventually("it serves", async || store.inspect(&name("free")).await.is_ok()).await;
        intruder.before_the_next_answer(error_text);
        let released = store.release(&[plain_release(&claim)]).await.pop().unwrap();
        assert_eq!(released.unwrap_err().kind(), ErrorKind::Indeterminate, "{error_text}");
        assert_eq!(direct.inspect(&one.name).await.unwrap(), None, "it was freed all the same");
        eventually("it serves", async || store.inspect(&name("free")).await.is_ok()).await;
    }
}

const IN_PLACE: [&str; 3] =
    ["-ERR upstream failure\r\n", "-LOADING Redis is loading\r\n", "-NOSCRIPT No matching script.\r\n"];

/// As from a proxy between that has lost its patience: the call was done.
#[tokio::test(flavor = "multi_thread")]
async fn s25_an_error_in_place_of_the_answer_is_not_believed() {
    let (_server, intruder, store, direct) = through_intruder().await;
    for (at, error_text) in IN_PLACE.into_iter().enumerate() {
        let one = request(&format!("job-{at}"), "a");
        for name in ["job", "other", "third"] {
            tried(&store, &format!("{name}-{at}")).await;
        }
        intruder.instead_of_the_next_answer(error_text);
        let grant = granted(&store, &one).await;
        assert_eq!(direct.inspect(&one.name).await.unwrap().unwrap().token, grant.token);
        let claim = claim(&one, grant);
        intruder.instead_of_the_next_answer(error_text);
        assert!(matches!(renew(&store, &renewal(&claim, TTL)).await.unwrap(), Renewed::Extended { .. }));
        // "There was nothing to do" would be wrong: it was done.
        intruder.instead_of_the_next_answer(error_text);
        let error = store.release(&[plain_release(&claim)]).await.pop().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
        assert_eq!(direct.inspect(&one.name).await.unwrap(), None);
        let two = request(&format!("other-{at}"), "a");
        let grant = granted(&store, &two).await;
        intruder.instead_of_the_next_answer(error_text);
        let error = store.break_lease(&two.name, grant.token, Break::Now).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
        // What comes twice is believed.
        if error_text.contains("NOSCRIPT") {
            continue;
        }
        intruder.instead_of_the_next_answer(error_text);
        intruder.instead_of_the_next_answer(error_text);
        let error = acquire(&store, &request(&format!("third-{at}"), "a")).await.unwrap_err();
        assert!(error.to_string().contains(error_text[1..].trim_end()), "{error}");
        assert!(intruder.is_done());
    }
}

/// Everyday: the server has forgotten the script, and the release has nothing to do.
#[tokio::test]
async fn s11_a_forgotten_script_leaves_no_doubt() {
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
