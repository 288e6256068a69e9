//! A server that keeps its connections open and does not answer.

use std::time::Duration;

use fred::{
    clients::Client,
    prelude::{ClientLike, Config, ReconnectPolicy},
};
use futures::future::join_all;
use integration_tests::{Proxy, Redis, fails_within};
use lease_core::{Break, Error, LeaseStore, Metadata, Result};
use lease_redis::RedisStoreOptions;

use crate::common::{TTL, claim, eventually, granted, key, options, plain_release, renewal, request};

const COMMAND: Duration = Duration::from_millis(500);
const CONNECT: Duration = Duration::from_millis(700);

/// The wait for a connection, the command, a repetition of it, and a reserve for a busy machine.
const LIMIT: Duration = Duration::from_secs(5);

/// Every call of the store ends, on the store's own client and on one of the application.
#[tokio::test]
async fn s24_every_call_of_the_store_ends() {
    for is_own in [true, false] {
        let server = Redis::start_local(&[]).await.unwrap();
        let options = options().with_command_timeout(COMMAND).with_connect_timeout(CONNECT);
        let store = if is_own {
            options.connect(server.url()).await.unwrap()
        } else {
            let mut config = Config::from_url(server.url()).unwrap();
            config.version = fred::types::RespVersion::RESP3;
            let policy = ReconnectPolicy::new_constant(0, 100);
            let client = Client::new(config, None, None, Some(policy));
            client.init().await.unwrap();
            options.with_client(client).unwrap()
        };
        let requests: Vec<_> = (0..3).map(|at| request(&format!("job-{at}"), "a")).collect();
        let held = &requests[0];
        let grant = granted(&store, held).await;
        let claim = claim(held, grant);
        server.freeze().await.unwrap();

        let renewals: Vec<_> = (0..3).map(|_| renewal(&claim, TTL)).collect();
        let releases: Vec<_> = (0..3).map(|_| plain_release(&claim)).collect();
        let data = key(&store, "data");
        tokio::join!(
            ends("acquire", async { first(store.acquire(&requests[..1]).await) }),
            ends("acquire", async { first(store.acquire(&requests).await) }),
            ends("renew", async { first(store.renew(&renewals[..1]).await) }),
            ends("renew", async { first(store.renew(&renewals).await) }),
            ends("release", async { first(store.release(&releases[..1]).await) }),
            ends("release", async { first(store.release(&releases).await) }),
            ends("inspect", async { store.inspect(&held.name).await.err() }),
            ends("list", async { store.list("", None, 10).await.err() }),
            ends("break", async { store.break_lease(&held.name, grant.token, Break::Now).await.err() }),
            ends("fenced_write", async { store.fenced_write(&data, "x", grant.token).await.err() }),
            ends("check", async { store.check().await.err() }),
            ends("connect", async { another(&server).await.err() }),
        );
        // Single calls end, too, after the store has detected the silent connection.
        ends("inspect", async { store.inspect(&held.name).await.err() }).await;
        ends("acquire", async { first(store.acquire(&requests).await) }).await;
        server.thaw().await.unwrap();
        eventually("the store serves again", async || store.inspect(&held.name).await.is_ok()).await;
    }
}

/// As when a host has vanished: what was sent stays in the socket, until that is full.
#[tokio::test]
async fn s24_a_connection_that_takes_no_more_bytes_is_given_up() {
    let (server, successor) = (Redis::start_local(&[]).await.unwrap(), Redis::start_local(&[]).await.unwrap());
    let proxy = Proxy::start(server.address().unwrap()).await.unwrap();
    let options = options().with_command_timeout(COMMAND).with_connect_timeout(CONNECT);
    let store = options.connect(&format!("redis://{}", proxy.address())).await.unwrap();
    granted(&store, &request("job", "a")).await;
    server.freeze().await.unwrap();
    proxy.redirect(successor.address().unwrap());

    // Some 26 MB, more than the buffers of both connections take.
    let metadata = Metadata::new([("filling", "x".repeat(4000))]).unwrap();
    let requests: Vec<_> =
        (0..256).map(|at| request(&format!("job-{at}"), "a").with_metadata(metadata.clone())).collect();
    let calls = (0..24).map(|_| async { first(store.acquire(&requests).await) });
    assert!(join_all(calls).await.iter().any(Option::is_some), "the server has answered");
    eventually("the store has another connection", async || store.inspect(&requests[0].name).await.is_ok()).await;
}

async fn another(server: &Redis) -> Result<lease_redis::RedisStore> {
    RedisStoreOptions::new().with_connect_timeout(CONNECT).connect(server.url()).await
}

/// Returns the error of the first answer.
fn first<T>(answers: Vec<Result<T>>) -> Option<Error> {
    answers.into_iter().next().unwrap().err()
}

async fn ends(operation: &str, call: impl Future<Output = Option<Error>>) {
    fails_within(operation, LIMIT, call).await;
}
