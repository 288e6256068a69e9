//! Errors of a wrong server, URL or user: their kinds and messages, without secrets.

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use fred::{
    clients::Client,
    prelude::{Builder, ClientLike, Config, Pool},
};
use integration_tests::{Redis, RedisCluster, Reply, assert_no_secret};
use lease_core::{Clock, Error, ErrorKind, LeaseStore, Released, SystemClock};
use lease_redis::{RedisStore, RedisStoreOptions};

use crate::common::{acquire, claim, granted, name, options, pass, release, request};

const SECRET: &str = "s3cr3t";

async fn refused(url: &str) -> Error {
    let options = RedisStoreOptions::new().with_connect_timeout(Duration::from_millis(500));
    let error = options.connect(url).await.unwrap_err();
    assert_no_secret(&error, SECRET);
    assert_eq!((error.store(), error.operation()), (Some("redis"), "connect"));
    error
}

#[tokio::test]
async fn a_malformed_url_is_invalid_and_not_repeated() {
    for url in [
        "",
        "nonsense",
        "mysql://app:s3cr3t@db/0",
        "redis://app:s3cr3t@db:port/0",
        "redis://app:x/s3cr3t@db/0",
        "redis://app:1?s3cr3t@db/0",
        "redis://app:s3cr3t@[::1/0",
        "redis://app:s3cr3t@db/0?password=s3cr3t",
        "redis://app:s3cr3t%FF@db/0",
        "redis://app:s3cr3t@db/999",
        "redis-sentinel://app:s3cr3t@db/0",
        "redis-cluster://app:s3cr3t@db/1",
        "redis-cluster://app:s3cr3t@db?node=s3cr3t",
    ] {
        let error = refused(url).await;
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("percent-encoded"), "{url}: {error}");
    }
}

#[tokio::test]
async fn an_unreachable_server_is_unavailable_and_named() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for scheme in ["redis", "rediss", "redis-cluster", "valkey"] {
        let error = refused(&format!("{scheme}://app:{SECRET}@127.0.0.1:{port}")).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{scheme}: {error}");
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{scheme}: {error}");
    }
    let error = refused(&format!("redis-sentinel://app:{SECRET}@127.0.0.1:{port}?sentinelServiceName=main")).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let error = refused(&format!("redis://app:{SECRET}@no-such-host.invalid")).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_unavailable_in_time() {
    // The kernel accepts the connection; nothing answers on it.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let start = SystemClock.now();
    let error = refused(&format!("redis://app:{SECRET}@{}", silent.local_addr().unwrap())).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(SystemClock.now().saturating_since(start) < Duration::from_secs(3));
}

#[tokio::test]
async fn a_database_that_is_missing_is_invalid() {
    let error = refused(&format!("{}/200", Redis::shared().await.url())).await;
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("DB index"), "{error}");
}

#[tokio::test]
async fn tls_to_a_server_without_tls_is_unavailable_and_the_message_names_tls() {
    let url = Redis::shared().await.url().replace("redis://", "rediss://");
    let error = refused(&url).await;
    // The server waits for a line of text that never comes.
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("by TLS"), "{error}");
}

#[tokio::test]
async fn a_cluster_url_of_a_single_server_is_invalid() {
    let url = Redis::shared().await.url().replace("redis://", "redis-cluster://");
    let error = refused(&url).await;
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

/// A server, or a proxy before it, that is too old for RESP3 rejects `HELLO` and quotes its arguments.
#[tokio::test]
async fn an_old_server_is_unsupported_and_its_quotation_does_not_reveal_the_password() {
    let quotes: [fn(&[&str]) -> String; 3] = [
        // Redis 5
        |arguments| format!("ERR unknown command `HELLO`, with args beginning with: `{}`, ", arguments.join("`, `")),
        // Redis 7, where the command is renamed
        |arguments| format!("ERR unknown command 'HELLO', with args beginning with: '{}' ", arguments.join("' '")),
        // A proxy
        |arguments| format!("ERR unsupported command 'HELLO {}'", arguments.join(" ")),
    ];
    for quote in quotes {
        let old = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = old.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in old.incoming() {
                let (mut stream, mut request) = (stream.unwrap(), [0; 1024]);
                while let Ok(length @ 1..) = stream.read(&mut request) {
                    let text = String::from_utf8_lossy(&request[..length]).into_owned();
                    let arguments: Vec<_> = text.split_whitespace().skip_while(|argument| *argument != "3").collect();
                    assert!(text.contains(SECRET), "{text:?}");
                    let _ = stream.write_all(format!("-{}\r\n", quote(&arguments)).as_bytes());
                }
            }
        });
        let error = refused(&format!("redis://app:{SECRET}@{address}")).await;
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("6.0"), "{error}");
    }
}

/// The future of `connect` is dropped while the server is frozen: its connection and its task end.
#[tokio::test(flavor = "multi_thread")]
async fn s15_a_dropped_connect_leaves_no_connection() {
    let server = Redis::start_local(&[]).await.unwrap();
    let connections = async || {
        let list = server.command(&["CLIENT", "LIST"]).await.unwrap().text();
        list.lines().count()
    };
    let before = connections().await;
    server.freeze().await.unwrap();
    for _ in 0..10 {
        tokio::select! {
            outcome = RedisStore::connect(server.url()) => panic!("unexpected answer: {outcome:?}"),
            () = pass(Duration::from_millis(50)) => {}
        }
    }
    server.thaw().await.unwrap();
    crate::common::eventually("all connections are closed", async || connections().await <= before).await;
}

/// Returns the words of the command in the crate's documentation that allows a user what the store needs, with a prefix of
/// `app:` and the password `right`.
fn documented_permissions() -> Vec<String> {
    let lines = include_str!("../../src/lib.rs").lines().map(|line| line.trim_start_matches("//!").trim());
    let mut command = String::new();
    for line in lines.skip_while(|line| !line.starts_with("$ redis-cli ACL SETUSER")) {
        command.push_str(line.trim_end_matches('\\'));
        if !line.ends_with('\\') {
            break;
        }
    }
    let command = command.replace("app-runtime-leases:", "app:").replace(">password", ">right").replace('\'', "");
    command.split_whitespace().skip(2).map(str::to_owned).collect()
}

/// The permissions in the crate's documentation are enough, and an error names the command that is not permitted.
#[tokio::test]
async fn the_documented_permissions_are_enough() {
    let server = Redis::start_local(&[]).await.unwrap();
    let documented = documented_permissions();
    let allow = async |more: &[&str]| {
        let words: Vec<&str> = documented.iter().map(String::as_str).chain(more.iter().copied()).collect();
        assert_eq!(server.command(&words).await.unwrap(), Reply::Text("OK".into()), "{words:?}");
    };
    allow(&[]).await;
    let url = server.url().replace("redis://", "redis://app:right@");
    let options = RedisStoreOptions::new().with_key_prefix("app:");
    let store = options.connect(&url).await.unwrap();
    let warnings = store.check().await.unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("may not run INFO"), "{warnings:?}");
    let one = request("job", "a");
    let grant = granted(&store, &one).await;
    crate::common::renew(&store, &crate::common::renewal(&claim(&one, grant), crate::common::TTL)).await.unwrap();
    assert_eq!(store.list("", None, 10).await.unwrap().len(), 1);
    let mut wakeups = store.subscribe(&one.name);
    assert!(crate::common::is_hinted_within(&mut wakeups, Duration::from_secs(5)).await);
    assert_eq!(release(&store, &claim(&one, grant)).await, Released::Freed);
    assert!(crate::common::is_hinted_within(&mut wakeups, Duration::from_secs(5)).await);
    assert_eq!(store.inspect(&one.name).await.unwrap(), None);
    // Redis reports a missing permission of a script in another way than that of a command.
    allow(&["-set"]).await;
    let error = acquire(&store, &request("job", "b")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("SETRANGE"), "{error}");
    allow(&["+set", "+hget", "+hset"]).await;
    store.fenced_write("app:data", "x", grant.token).await.unwrap();
    // The driver selects each database that a URL names, also the first one.
    for database in [0, 1] {
        let url = format!("{url}/{database}");
        allow(&["-select"]).await;
        let error = options.connect(&url).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("SELECT"), "{error}");
        allow(&["+select"]).await;
        let store = options.connect(&url).await.unwrap();
        granted(&store, &request("selected", "a")).await;
    }
}

#[tokio::test]
async fn a_wrong_password_is_denied_without_a_retry_and_not_printed() {
    let server = Redis::start_local(&[]).await.unwrap();
    server
        .command(&["ACL", "SETUSER", "app", "on", ">right", "~app:*", "&app:*", "+@all", "-@dangerous"])
        .await
        .unwrap();
    let url = |user: &str, password: &str| server.url().replace("redis://", &format!("redis://{user}:{password}@"));
    let options = RedisStoreOptions::new().with_key_prefix("app:");
    for url in [url("app", SECRET), url("nobody", SECRET)] {
        let start = SystemClock.now();
        let error = options.connect(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(SystemClock.now().saturating_since(start) < Duration::from_secs(2), "the store has retried");
        assert!(!error.is_transient());
        assert_no_secret(&error, SECRET);
    }
    // Permissions on the prefix are enough; INFO is not needed.
    let store = options.connect(&url("app", "right")).await.unwrap();
    let one = request("job", "a");
    let grant = granted(&store, &one).await;
    assert_eq!(store.list("", None, 10).await.unwrap().len(), 1);
    let mut wakeups = store.subscribe(&one.name);
    assert!(crate::common::is_hinted_within(&mut wakeups, Duration::from_secs(5)).await);
    assert_eq!(release(&store, &claim(&one, grant)).await, Released::Freed);
    let text = format!("{store:?} {:?}", store.client());
    assert!(!text.contains("right"), "{text}");
    // Other keys are not permitted.
    let other = RedisStoreOptions::new().with_key_prefix("other:").connect(&url("app", "right")).await.unwrap();
    let error = acquire(&other, &request("job", "a")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("SUBSCRIBE"), "{error}");

    server.command(&["CONFIG", "SET", "requirepass", "right"]).await.unwrap();
    let error = options.connect(server.url()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("password"), "{error}");
    options.connect(&url("default", "right")).await.unwrap();
    // A password alone, as before Redis 6.
    options.connect(&url("", "right")).await.unwrap();
}

/// A release succeeds although its hint is not permitted. Waiters poll, and one warning tells the operator.
#[tokio::test]
async fn s20_a_hint_that_is_not_permitted_costs_only_time() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let server = Redis::start_local(&[]).await.unwrap();
    server.command(&["ACL", "SETUSER", "app", "on", ">right", "~*", "resetchannels", "+@all"]).await.unwrap();
    let url = server.url().replace("redis://", "redis://app:right@");
    let store = RedisStore::connect(&url).await.unwrap();
    let mut kept = Vec::new();
    for round in 0..3 {
        let one = request(&format!("job-{round}"), "a");
        let grant = granted(&store, &one).await;
        let mut wakeups = store.subscribe(&one.name);
        assert!(!crate::common::is_hinted_within(&mut wakeups, Duration::from_millis(200)).await);
        kept.push(wakeups);
        assert_eq!(release(&store, &claim(&one, grant)).await, Released::Freed);
        granted(&store, &request(&format!("job-{round}"), "b")).await;
    }
    let warnings = warnings.0.lock().unwrap();
    for right in ["+subscribe", "+publish"] {
        assert_eq!(warnings.iter().filter(|warning| warning.contains(right)).count(), 1, "{right}: {warnings:?}");
    }
}

/// The warnings that are logged in this thread.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{field}={value:?} "));
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn the_applications_own_client_and_pool_are_used() {
    let config = Config::from_url(Redis::shared().await.url()).unwrap();
    let client = Builder::from_config(config.clone()).build().unwrap();
    client.init().await.unwrap();
    let pool = Pool::new(config, None, None, None, 3).unwrap();
    pool.init().await.unwrap();
    let options = options();
    let (one, many) = (options.with_client(client.clone()).unwrap(), options.with_pool(&pool).unwrap());
    assert_eq!(one.check().await.unwrap(), [""; 0]);
    for store in [&one, &many] {
        let request = request("job", "a");
        let grant = granted(store, &request).await;
        let mut wakeups = store.subscribe(&request.name);
        assert!(crate::common::is_hinted_within(&mut wakeups, Duration::from_secs(5)).await);
        assert_eq!(release(store, &claim(&request, grant)).await, Released::Freed);
        assert!(crate::common::is_hinted_within(&mut wakeups, Duration::from_secs(5)).await);
    }
    drop((one, many));
    // The application's client and pool stay connected.
    client.ping::<String>(None).await.unwrap();
    pool.ping::<String>(None).await.unwrap();

    client.quit().await.unwrap();
    let short = options.clone().with_command_timeout(Duration::from_millis(200));
    let closed = short.with_client(client).unwrap();
    let error = acquire(&closed, &request("job", "a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    // A client that was never connected.
    let idle = short.with_client(Client::default()).unwrap();
    assert_eq!(acquire(&idle, &request("job", "a")).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_store_connects_by_the_configuration_of_the_applications_cluster_client() {
    let cluster = RedisCluster::start(3).await.unwrap();
    let client = Builder::from_config(Config::from_url(&cluster.url()).unwrap()).build().unwrap();
    client.init().await.unwrap();
    let store = RedisStore::with_client(client).unwrap();
    let requests: Vec<_> = (0..100).map(|at| request(&format!("job-{at}"), "a")).collect();
    for answer in store.acquire(&requests).await {
        assert!(matches!(answer.unwrap(), lease_core::Acquired::Granted(_)));
    }
    for node in cluster.nodes() {
        let size: u64 = node.command(&["DBSIZE"]).await.unwrap().text().parse().unwrap();
        assert!(size > 10, "one server has only {size} keys: names are not spread");
    }
    assert_eq!(store.list("job-", None, 1000).await.unwrap().len(), 100);
}

/// Leases on the other servers are granted.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_server_that_hangs_does_not_block_the_others() {
    let cluster = RedisCluster::start(3).await.unwrap();
    let client = Builder::from_config(Config::from_url(&cluster.url()).unwrap()).build().unwrap();
    client.init().await.unwrap();
    cluster.nodes()[0].freeze().await.unwrap();
    let store = options().with_command_timeout(Duration::from_millis(500)).with_client(client).unwrap();
    let requests: Vec<_> = (0..30).map(|at| request(&format!("job-{at}"), "a")).collect();
    let answers = store.acquire(&requests).await;
    let granted = answers.iter().filter(|answer| matches!(answer, Ok(lease_core::Acquired::Granted(_)))).count();
    cluster.nodes()[0].thaw().await.unwrap();
    assert!(granted >= 10, "{granted} of 30: {answers:?}");
}

/// The drop needs no runtime and does not panic.
#[test]
fn s16_a_call_can_be_dropped_outside_a_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(async { Redis::start_local(&[]).await.unwrap() });
    let store = runtime.block_on(async { options().connect(server.url()).await.unwrap() });
    runtime.block_on(async { server.freeze().await.unwrap() });
    let blocked = request("job", "b");
    let mut call = Box::pin(acquire(&store, &blocked));
    runtime.block_on(async {
        tokio::select! {
            answer = &mut call => panic!("unexpected answer: {answer:?}"),
            () = pass(Duration::from_millis(20)) => {}
        }
    });
    drop(call);
    runtime.block_on(async { server.thaw().await.unwrap() });
    runtime.block_on(async { granted(&store, &request(name("other").as_str(), "a")).await });
    drop(store);
}
