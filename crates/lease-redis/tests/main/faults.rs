//! Faults of a server, of its scripts and of the network, and their effects on leases.

use std::time::Duration;

use fred::{
    clients::Client,
    prelude::{ClientLike, Config, Value},
    types::{ClusterHash, CustomCommand},
};
use integration_tests::{Direction, Proxy, Redis, Reply};
use lease_core::{
    Acquired, Break, Clock, ErrorKind, LeaseClient, LeaseOptions, LeaseStore, LossReason, Released, Renewed,
    SystemClock,
};
use lease_redis::{RedisStore, RedisStoreOptions};

use crate::common::{
    TTL, acquire, claim, eventually, granted, is_held, key, name, options, pass, plain_release, release, renew,
    renewal, request,
};

async fn own_server() -> (Redis, RedisStore) {
    let server = Redis::start_local(&[]).await.unwrap();
    let store = options().connect(server.url()).await.unwrap();
    (server, store)
}

async fn through_proxy(server: &Redis) -> (Proxy, RedisStore) {
    let proxy = Proxy::start(server.address().unwrap()).await.unwrap();
    let options = options().with_command_timeout(Duration::from_millis(400));
    let store = options.connect(&server.url_through(&proxy)).await.unwrap();
    (proxy, store)
}

#[tokio::test]
async fn scripts_are_loaded_again_after_a_flush() {
    let (server, store) = own_server().await;
    let flush = async || {
        server.command(&["SCRIPT", "FLUSH"]).await.unwrap();
    };
    for round in 0..5 {
        flush().await;
        let requests: Vec<_> = (0..20).map(|at| request(&format!("job-{round}-{at}"), "a")).collect();
        let grants = store.acquire(&requests).await;
        let claims: Vec<_> = requests
            .iter()
            .zip(grants)
            .map(|(request, answer)| match answer.unwrap() {
                Acquired::Granted(grant) => (claim(request, grant), grant),
                other => panic!("unexpected answer: {other:?}"),
            })
            .collect();
        flush().await;
        for answer in store.renew(&claims.iter().map(|(claim, _)| renewal(claim, TTL)).collect::<Vec<_>>()).await {
            assert!(matches!(answer.unwrap(), Renewed::Extended { .. }));
        }
        flush().await;
        assert!(store.inspect(&requests[0].name).await.unwrap().is_some());
        flush().await;
        let (broken, grant) = &claims[0];
        assert_eq!(store.break_lease(&broken.name, grant.token, Break::Now).await.unwrap(), Released::Freed);
        flush().await;
        for answer in
            store.release(&claims[1..].iter().map(|(claim, _)| plain_release(claim)).collect::<Vec<_>>()).await
        {
            assert_eq!(answer.unwrap(), Released::Freed);
        }
        flush().await;
        store.fenced_write(&key(&store, "data"), "x", grant.token).await.unwrap();
    }
    // Flushes at any moment, under load.
    let work = async {
        for round in 0..100 {
            let request = request(&format!("loaded-{round}"), "a");
            let grant = granted(&store, &request).await;
            assert_eq!(release(&store, &claim(&request, grant)).await, Released::Freed);
        }
    };
    let flushing = async {
        loop {
            flush().await;
        }
    };
    tokio::select! {
        () = work => {}
        () = flushing => {}
    }
}

/// An administrator kills all connections in the middle of batches: each outcome is right or unknown, and a repetition of the
/// attempt returns its own grant.
#[tokio::test(flavor = "multi_thread")]
async fn s13_connections_are_killed_in_the_middle_of_batches() {
    let (server, store) = own_server().await;
    let quiet = RedisStoreOptions::new().with_key_prefix(store.key_prefix());
    let mut unknown = 0;
    for round in 0..30 {
        // Longer than the test takes on a busy machine.
        let requests: Vec<_> =
            (0..256).map(|at| request(&format!("job-{round}-{at}"), "a").with_ttl(TTL * 20)).collect();
        let kill = async {
            server.command(&["CLIENT", "KILL", "TYPE", "normal"]).await.unwrap();
        };
        let (answers, ()) = tokio::join!(store.acquire(&requests), kill);
        for (request, answer) in requests.iter().zip(answers) {
            let first = match answer {
                Ok(Acquired::Granted(grant)) => Some(grant.token),
                Ok(other) => panic!("unexpected answer for a free name: {other:?}"),
                Err(error) => {
                    assert!(error.is_transient(), "{error}");
                    unknown += 1;
                    None
                }
            };
            if first.is_none() || request.name.as_str().ends_with("-7") {
                let mut again = acquire(&store, request).await;
                while again.as_ref().is_err_and(|error| error.is_transient()) {
                    again = acquire(&store, request).await;
                }
                let Ok(Acquired::Granted(again)) = again else { panic!("unexpected answer: {again:?}") };
                assert!(first.is_none_or(|first| first == again.token), "{first:?} {again:?}");
            }
        }
    }
    let direct = quiet.connect(server.url()).await.unwrap();
    assert_eq!(direct.list("", None, 10_000).await.unwrap().len(), 30 * 256);
    println!("{unknown} outcomes were unknown");
}

#[tokio::test]
async fn s13_a_lost_answer_is_indeterminate_and_its_retry_finds_the_grant() {
    let server = Redis::start_local(&[]).await.unwrap();
    let (proxy, store) = through_proxy(&server).await;
    let direct = RedisStoreOptions::new().with_key_prefix(store.key_prefix()).connect(server.url()).await.unwrap();
    granted(&store, &request("warm", "a")).await;
    // The answers to the first acquire and the first renewal of each round are lost.
    for round in 0..4 {
        let request = request(&format!("job-{round}"), "a");
        proxy.drop_answers();
        let error = acquire(&store, &request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
        let record = direct.inspect(&request.name).await.unwrap().unwrap();
        proxy.heal();
        let mut again = acquire(&store, &request).await;
        while again.is_err() {
            again = acquire(&store, &request).await;
        }
        let Ok(Acquired::Granted(grant)) = again else { panic!("unexpected answer: {again:?}") };
        assert_eq!(grant.token, record.token);

        let claim = claim(&request, grant);
        proxy.drop_answers();
        let error = renew(&store, &renewal(&claim, TTL)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
        // An `inspect` changes nothing, so its outcome is never unknown.
        assert_eq!(store.inspect(&request.name).await.unwrap_err().kind(), ErrorKind::Unavailable);
        proxy.heal();
        eventually("the store serves again", async || renew(&store, &renewal(&claim, TTL)).await.is_ok()).await;
    }
}

/// A call without a connection is not sent. If it is dropped then, it has no effect.
#[tokio::test]
async fn s15_a_call_that_is_dropped_without_a_connection_has_no_effect() {
    let server = Redis::start_local(&[]).await.unwrap();
    let (proxy, store) = through_proxy(&server).await;
    proxy.refuse_connections();
    proxy.reset_connections();
    eventually("the client is disconnected", async || !store.client().is_connected()).await;
    let error = acquire(&store, &request("unsent", "a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "the call was not sent: {error}");
    for at in 0..10 {
        let request = request(&format!("job-{at}"), "a");
        tokio::select! {
            answer = acquire(&store, &request) => panic!("unexpected answer: {answer:?}"),
            () = pass(Duration::from_millis(20)) => {}
        }
    }
    proxy.heal();
    eventually("the store serves again", async || store.inspect(&name("job")).await.is_ok()).await;
    pass(Duration::from_millis(100)).await;
    assert_eq!(store.list("", None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_call_to_a_frozen_server_times_out_and_the_store_recovers() {
    let server = Redis::start_local(&[]).await.unwrap();
    let store = options().with_command_timeout(Duration::from_millis(300)).connect(server.url()).await.unwrap();
    let held = request("held", "a");
    let grant = granted(&store, &held).await;
    server.freeze().await.unwrap();
    let (request, start) = (request("job", "a"), SystemClock.now());
    let error = acquire(&store, &request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
    assert!(SystemClock.now().saturating_since(start) < Duration::from_secs(2));
    for _ in 0..3 {
        assert!(renew(&store, &renewal(&claim(&held, grant), TTL)).await.unwrap_err().is_transient());
    }
    server.thaw().await.unwrap();
    eventually("the store serves again", async || renew(&store, &renewal(&claim(&held, grant), TTL)).await.is_ok())
        .await;
    let again = granted(&store, &request).await;
    assert!(is_held(&store, &crate::common::request("job", "b")).await);
    assert!(again.remaining <= TTL);
}

/// One connection hangs while new ones work: the store replaces it without a further call.
#[tokio::test]
async fn s24_a_connection_that_hangs_behind_an_abandoned_call_is_replaced() {
    let (server, store) = own_server().await;
    granted(&store, &request("warm", "a")).await;
    let client = store.client();
    let block = tokio::spawn(async move {
        let command = CustomCommand::new_static("BLPOP", ClusterHash::FirstKey, false);
        client.custom::<Value, _>(command, vec!["nothing".to_owned(), "0".to_owned()]).await
    });
    eventually("the connection hangs", async || {
        server.command(&["CLIENT", "LIST"]).await.unwrap().text().contains("cmd=blpop")
    })
    .await;
    let abandoned = request("job", "a");
    tokio::select! {
        answer = acquire(&store, &abandoned) => panic!("unexpected answer: {answer:?}"),
        () = pass(Duration::from_millis(100)) => {}
    }
    let start = SystemClock.now();
    // A call that was sent behind it on the same connection is unknown, and repeated.
    let other = request("other", "a");
    eventually("the store serves again", async || acquire(&store, &other).await.is_ok()).await;
    let took = SystemClock.now().saturating_since(start);
    assert!(took < Duration::from_secs(2), "the store waited for the hung connection: {took:?}");
    granted(&store, &abandoned).await;
    block.abort();
}

/// A call with little time is abandoned on a healthy connection: other calls are not disturbed.
#[tokio::test]
async fn s24_a_healthy_connection_with_an_abandoned_call_is_kept() {
    let server = Redis::start_local(&[]).await.unwrap();
    let (proxy, store) = through_proxy(&server).await;
    proxy.delay(Direction::Answers, Duration::from_millis(50));
    let id = async || {
        let command = CustomCommand::new_static("CLIENT", None, false);
        store.client().custom::<u64, _>(command, vec!["ID"]).await.unwrap()
    };
    let before = id().await;
    let abandoned = request("job", "a");
    tokio::select! {
        answer = acquire(&store, &abandoned) => panic!("unexpected answer: {answer:?}"),
        () = pass(Duration::from_millis(10)) => {}
    }
    // The answer to the abandoned call is not taken for that to this one.
    assert_eq!(store.inspect(&name("free")).await.unwrap(), None);
    let grant = granted(&store, &abandoned).await;
    assert!(is_held(&store, &request("job", "b")).await);
    release(&store, &claim(&abandoned, grant)).await;
    pass(Duration::from_millis(400)).await;
    assert_eq!(id().await, before, "the connection was replaced");
}

#[tokio::test]
async fn s10_tokens_rise_over_a_restart_that_loses_all_data() {
    let (server, store) = own_server().await;
    let held = request("job", "a");
    let mut last = granted(&store, &held).await.token;
    for round in 0..3 {
        if round == 0 {
            server.restart().await.unwrap();
        } else {
            server.kill().await.unwrap();
            server.start_again().await.unwrap();
        }
        assert_eq!(server.command(&["DBSIZE"]).await.unwrap(), Reply::Integer(0));
        let claim = claim(&held, lease_core::Grant::new(last, TTL));
        let mut answer = renew(&store, &renewal(&claim, TTL)).await;
        while answer.is_err() {
            answer = renew(&store, &renewal(&claim, TTL)).await;
        }
        assert_eq!(answer.unwrap(), Renewed::Lost(LossReason::Gone));
        let next = request("job", "b");
        let grant = granted(&store, &next).await;
        assert!(grant.token > last, "{} {last}", grant.token);
        last = grant.token;
    }
}

#[tokio::test]
async fn a_lease_stays_held_over_a_restart_that_keeps_the_data() {
    let server = Redis::start_local(&[("appendonly", "yes"), ("appendfsync", "always")]).await.unwrap();
    let client = LeaseClient::new(options().connect(server.url()).await.unwrap());
    let lease = client.acquire("job", LeaseOptions::new(Duration::from_secs(6))).await.unwrap();
    server.kill().await.unwrap();
    pass(Duration::from_millis(300)).await;
    server.start_again().await.unwrap();
    pass(Duration::from_secs(6)).await;
    assert!(lease.is_held());
    lease.release().await.unwrap();
}

#[tokio::test]
async fn a_server_that_evicts_is_refused_unless_accepted() {
    let server = Redis::start_local(&[("maxmemory-policy", "allkeys-lru")]).await.unwrap();
    let error = options().connect(server.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    for word in ["allkeys-lru", "noeviction", "accept_eviction"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    let store = options().with_accept_eviction(true).connect(server.url()).await.unwrap();
    assert!(store.check().await.unwrap()[0].contains("allkeys-lru"));
    granted(&store, &request("job", "a")).await;
}

/// The same address may lead to another server after a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_evicts_is_refused_on_a_new_connection_too() {
    let (server, store) = own_server().await;
    let held = request("held", "a");
    let grant = granted(&store, &held).await;
    let policy = async |policy: &str| {
        server.command(&["CONFIG", "SET", "maxmemory-policy", policy]).await.unwrap();
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]).await.unwrap();
    };
    policy("allkeys-lru").await;
    eventually("the store detects the policy", async || {
        let answer = acquire(&store, &request("job", "a")).await;
        answer.is_err_and(|error| error.kind() == ErrorKind::Invalid && error.to_string().contains("allkeys-lru"))
    })
    .await;
    // A lease that is held can be renewed and released.
    assert!(matches!(renew(&store, &renewal(&claim(&held, grant), TTL)).await.unwrap(), Renewed::Extended { .. }));
    assert_eq!(release(&store, &claim(&held, grant)).await, Released::Freed);
    policy("noeviction").await;
    eventually("the store grants again", async || acquire(&store, &request("job", "a")).await.is_ok()).await;
}

/// The store has not checked the server before the first call.
#[tokio::test]
async fn an_applications_client_is_checked_at_the_first_call() {
    let server = Redis::start_local(&[("maxmemory-policy", "allkeys-lru")]).await.unwrap();
    let client = Client::new(Config::from_url(server.url()).unwrap(), None, None, None);
    client.init().await.unwrap();
    let store = options().with_client(client.clone()).unwrap();
    let error = acquire(&store, &request("job", "a")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("accept_eviction"), "{error}");
    let store = options().with_accept_eviction(true).with_client(client).unwrap();
    granted(&store, &request("job", "a")).await;
}

#[tokio::test]
async fn a_temporary_refusal_of_the_server_is_unavailable() {
    let (server, store) = own_server().await;
    let set = async |setting: &str, value: &str| {
        assert_eq!(server.command(&["CONFIG", "SET", setting, value]).await.unwrap(), Reply::Text("OK".into()));
    };
    let held = request("held", "a");
    let grant = granted(&store, &held).await;
    for (setting, bad, good, word) in
        [("min-replicas-to-write", "1", "0", "replicas"), ("maxmemory", "1", "0", "memory")]
    {
        set(setting, bad).await;
        let requests = [request("job", "a"), request("job-2", "a")];
        for answer in store.acquire(&requests).await {
            let error = answer.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
        if word == "replicas" {
            // The server refuses every write.
            let error = renew(&store, &renewal(&claim(&held, grant), TTL)).await.unwrap_err();
            assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains(word), "{error}");
            let error = store.release(&[plain_release(&claim(&held, grant))]).await.pop().unwrap().unwrap_err();
            assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains(word), "{error}");
        }
        set(setting, good).await;
        for answer in store.acquire(&requests).await {
            assert!(matches!(answer.unwrap(), Acquired::Granted(_)));
        }
        server.command(&["DEL", &key(&store, "job"), &key(&store, "job-2")]).await.unwrap();
    }
    // The server becomes a replica of an unreachable primary, as after a fail-over.
    server.command(&["REPLICAOF", "127.0.0.1", "1"]).await.unwrap();
    let error = acquire(&store, &request("job", "a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("replica"), "{error}");
    assert!(renew(&store, &renewal(&claim(&held, grant), TTL)).await.unwrap_err().is_transient());
    let error = options().connect(server.url()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("replica"), "{error}");
    server.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    eventually("the store serves again", async || renew(&store, &renewal(&claim(&held, grant), TTL)).await.is_ok())
        .await;
}

/// New leases are refused; leases that are held can be renewed and released.
#[tokio::test]
async fn s19_leases_are_renewed_and_released_when_the_memory_is_full() {
    let (server, store) = own_server().await;
    let requests: Vec<_> = (0..4).map(|at| request(&format!("job-{at}"), "a")).collect();
    let mut claims = Vec::new();
    for request in &requests {
        claims.push(claim(request, granted(&store, request).await));
    }
    let token = store.inspect(&name("job-3")).await.unwrap().unwrap().token;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
    let error = acquire(&store, &request("new", "a")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("memory"), "{error}");
    let renewals: Vec<_> = claims.iter().map(|claim| renewal(claim, TTL * 2)).collect();
    for answer in store.renew(&renewals).await {
        assert!(matches!(answer.unwrap(), Renewed::Extended { .. }));
    }
    assert_eq!(release(&store, &claims[0]).await, Released::Freed);
    let blocked = plain_release(&claims[1]).with_hold_for(TTL);
    assert_eq!(store.release(&[blocked]).await.pop().unwrap().unwrap(), Released::Freed);
    assert_eq!(release(&store, &claims[2]).await, Released::Freed);
    assert_eq!(store.break_lease(&name("job-3"), token, Break::AfterExpiry).await.unwrap(), Released::Freed);
    assert_eq!(store.break_lease(&name("job-2"), token, Break::Now).await.unwrap(), Released::NotHeld);
    assert_eq!(store.inspect(&name("job-0")).await.unwrap(), None);
    assert_eq!(store.list("", None, 10).await.unwrap().len(), 2, "the two blocked names stay");
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    granted(&store, &request("new", "a")).await;
}
